"""What a Redis server says of itself in ``INFO``, and what it must say to be used."""

from __future__ import annotations

from api.domain.errors import Unavailable


def fact(info: str, name: str) -> str:
    """Return one line's value; empty where the server does not say."""
    for line in info.splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""


def expect_no_eviction(memory: str) -> None:
    """Go on only with a server that keeps what it was given. Raises: Unavailable."""
    policy = fact(memory, "maxmemory_policy")
    if policy != "noeviction":
        raise Unavailable(
            f"the counter store may evict keys (maxmemory-policy {policy}); "
            "set maxmemory-policy noeviction"
        )
