"""What a link to one server must be told, and tells, as it does not know the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from api.infra.calls import Call
from api.infra.cluster import Redirect
from api.infra.server_facts import Facts

if TYPE_CHECKING:
    from api.infra.link import Link


class Keeper(Protocol):
    """Whoever knows which link leads to which shard."""

    def inspect(self, facts: Facts) -> None:
        """Raise Unavailable where this server must not be used."""

    async def claim(self, link: Link) -> None:
        """Have the epochs of the link's shards registered. Raises: Unavailable."""

    def turned_away(self, call: Call, link: Link, redirect: Redirect) -> None:
        """Take back a call that was not carried out."""

    def missed(self, link: Link) -> None:
        """Hear that the link's server cannot be reached, or does not answer."""
