"""What a Redis server says of itself in ``INFO``, and what it must say to be used."""

from __future__ import annotations

from typing import NamedTuple

from api.domain.errors import Unavailable


class Facts(NamedTuple):
    """A server, as far as the door must know it.

    ``server`` names a run of it and the history that it continues: a process that was demoted and
    promoted again has another one, as what it held in between may be lost.
    """

    server: str
    eviction: str
    cluster: bool

    def expect_no_eviction(self) -> None:
        """Go on only with a server that keeps what it was given. Raises: Unavailable."""
        if self.eviction != "noeviction":
            raise Unavailable(
                f"the counter store may evict keys (maxmemory-policy {self.eviction}); "
                "set maxmemory-policy noeviction"
            )


def facts_of(info: bytes) -> Facts:
    """Read the reply of ``INFO``."""
    told = dict(
        line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line
    )
    return Facts(
        server=f"{told.get('run_id', '')}:{told.get('master_replid', '')}",
        eviction=told.get("maxmemory_policy", ""),
        cluster=told.get("cluster_enabled") == "1",
    )
