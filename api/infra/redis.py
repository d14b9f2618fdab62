"""The door to the counter store: one Redis, or a cluster.

Each shard belongs to one server; what is asked of a shard, by parameter or by the hash tag of its
key, travels over the link that leads there, together with the other calls of the moment.

Failure policy: what was never sent raises ``NotSent``; what was sent and not answered raises
``OutcomeUnknown``, and the caller may repeat it only under the same operation id; what finds too
many others waiting raises ``Overloaded``, which is no outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.calls import Call, NotSent, OutcomeUnknown, Overloaded, ScriptFailed, outcomes
from api.infra.fleet import Fleet, Registrar
from api.infra.forms import Arg, Place
from api.infra.link import NO_EPOCH, Link
from api.infra.lua import Script

__all__ = [
    "PATIENCE_SECONDS",
    "Arg",
    "NotSent",
    "OutcomeUnknown",
    "Overloaded",
    "Place",
    "RedisDoor",
    "Registrar",
    "ScriptFailed",
    "outcomes",
]

Reopener = Callable[[str, int, int], Awaitable[int | None]]
"""Given a server, a shard, and the epoch that the server does not hold, answers with the epoch to
use; None where another server is registered."""

MOST_WAITING = 10_000
PATIENCE_SECONDS = 2.0
"""For one server among several; the others are gone by without it."""


class RedisDoor:
    """The counter store; every method may raise ``Unavailable``."""

    def __init__(
        self,
        url: str,
        *,
        register: Registrar,
        reopen: Reopener,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._fleet = Fleet(url, register, most_waiting)
        self._reopen = reopen
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to take calls; the first one connects, and each one after a loss again."""
        self._loop = asyncio.get_running_loop()
        self._fleet.start()

    async def open(self) -> RedisDoor:
        """Begin and connect. Raises: Unavailable."""
        self.start()
        await self.command("PING")
        return self

    async def close(self) -> None:
        """Stop; calls that wait are refused, and of those that are out the outcome is unknown."""
        await self._fleet.close()

    @property
    def up(self) -> bool:
        """Tell whether a connection stands, to every server that holds a shard."""
        links = self._fleet.of_shard
        return bool(links) and all(link.up for link in set(links))

    @property
    def generation(self) -> int:
        """Counts the connections made: whoever sees it unchanged has lost none meanwhile."""
        return self._fleet.made

    @property
    def batches(self) -> int:
        """Counts the writes: each is one journey to a server and back."""
        return self._fleet.batches

    @property
    def servers(self) -> int:
        """How many servers hold the shards."""
        return len(set(self._fleet.of_shard))

    @property
    def blocks(self) -> bool:
        """Tell whether one blocking command can wait for all shards: not in a cluster."""
        return self._fleet.cluster is False

    def epoch(self, shard: int) -> int:
        """Return the epoch under which this shard is asked; it belongs to one run of one server.

        Raises: NotSent while that server is not connected.
        """
        links = self._fleet.of_shard
        epoch = links[shard].epochs[shard] if links else NO_EPOCH
        if epoch == NO_EPOCH:
            raise NotSent("the counter store is not connected")
        return epoch

    async def standing_epoch(self, shard: int) -> int:
        """Return the shard's epoch, connecting to its server first where that is needed."""
        if not self._fleet.of_shard:
            await self._fleet.holders()
        link = self._fleet.of_shard[shard]
        if link.epochs[shard] == NO_EPOCH:
            await _at(link, ("PING",))
            await link.claimed()
        return self.epoch(shard)

    async def epochs(self, *, patience_seconds: float = PATIENCE_SECONDS) -> dict[int, int]:
        """Connect to whatever servers can be reached, and return the epochs of their shards.

        Raises: Unavailable when none can, or none in that time; shards that are still being
        registered after as long again are left out. Cost: one command to each.
        """
        links = await self._fleet.holders()
        pings = (_at(link, ("PING",)) for link in links)
        ended = await outcomes(pings, patience_seconds=patience_seconds)
        lost = [error for error in ended if isinstance(error, Unavailable)]
        if len(lost) == len(links):
            raise lost[0]
        await outcomes((link.claimed() for link in links), patience_seconds=patience_seconds)
        of_shard = enumerate(self._fleet.of_shard)
        known = ((shard, link.epochs[shard]) for shard, link in of_shard)
        return {shard: epoch for shard, epoch in known if epoch != NO_EPOCH}

    def call(
        self, script: Script, shard: int, keys_: Sequence[str], args: Sequence[Arg]
    ) -> asyncio.Future[Any]:
        """Run ``script`` on one shard; its marker and epoch go before ``keys_`` and ``args``.

        Cost: one place in the next batch. Raises: NotSent, OutcomeUnknown, Overloaded.
        """
        return self.call_at(Place.of(shard, keys_), script, (), args)

    def call_at(
        self, place: Place, script: Script, keys_: Sequence[str], args: Sequence[Arg]
    ) -> asyncio.Future[Any]:
        """Run ``script`` as ``call`` does; ``keys_`` are those besides the ones of its place."""
        reply: asyncio.Future[Any] = (self._loop or asyncio.get_running_loop()).create_future()
        self._fleet.submit(Call(reply, keys_, args, place.shard, script, place))
        return reply

    def command(self, *parts: Arg, shard: int | None = None) -> Awaitable[Any]:
        """Run one plain command where ``shard`` is, or else its key.

        One without either goes to every server that holds a shard; the first one's answer counts.
        """
        if shard is None:
            shard = _shard_of(parts)
        if shard is None and self.blocks:
            shard = 0
        if shard is None:
            return self._everywhere(parts)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._fleet.submit(Call(reply, parts, (), shard))
        return reply

    async def renew_epoch(self, shard: int) -> int:
        """Agree with the record on the shard's epoch after a script saw another marker."""
        epoch = self.epoch(shard)
        link = self._fleet.of_shard[shard]
        server = link.server
        opened = await self._reopen(server, shard, epoch)
        if opened is None:
            # Another server is registered for it: see who this one is, and register that.
            link.epochs[shard] = NO_EPOCH
            link.wanting = True
            link.doubt()
            self._fleet.look_soon()
            return await self.standing_epoch(shard)
        if link.server == server and link.epochs[shard] != NO_EPOCH:
            link.epochs[shard] = opened
        await self.call(_OPEN_EPOCH, shard, (), ())
        return opened

    async def blocking(self, *parts: Arg, timeout_seconds: float) -> Any:  # noqa: ANN401 - any command's reply
        """Run one command that waits at the server, on a connection of its own."""
        await self._fleet.holders()
        link = self._fleet.of_shard[_shard_of(parts) or 0]
        return await link.blocking(parts, timeout_seconds)

    async def _everywhere(self, parts: tuple[Arg, ...]) -> Any:  # noqa: ANN401 - any command's reply
        links = await self._fleet.holders()
        replies = await asyncio.gather(
            *(_at(link, parts) for link in links), return_exceptions=True
        )
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies[0]


_OPEN_EPOCH = Script.load(__file__, "open_epoch")


def _at(link: Link, parts: tuple[Arg, ...]) -> asyncio.Future[Any]:
    """Run one command on the server of this link, whatever it holds by then."""
    reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    link.submit(Call(reply, parts))
    return reply


def _shard_of(parts: Sequence[Arg]) -> int | None:
    """Return the shard of a command's key: its first word, or, after another, its second."""
    for part in parts[1:3]:
        shard = keys.shard_of_key(part)
        if shard is not None:
            return shard
    return None
