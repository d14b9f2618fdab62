"""The door to the counter store: one server, or a cluster of them.

Each shard belongs to one server, and to the link that leads there; what is asked of a shard, by
parameter or by the hash tag of its key, travels over that link. Of one server there is one link;
of a cluster one to every primary, found by its map when the first call comes.

Failure policy in a cluster: what a server turned away was not carried out and is sent on, to
where the shard has gone (MOVED), or again in a moment while its keys are in two places (ASK,
TRYAGAIN) or nobody serves it (CLUSTERDOWN); past a bound it is ``NotSent``. Only single reads and
appends follow ASK: a script waits until its shard has one owner, as its epoch belongs to that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.cluster import Address, View, newest
from api.infra.link import (
    NO_EPOCH,
    TIMEOUT_SECONDS,
    Arg,
    Call,
    Facts,
    Link,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    ScriptFailed,
    Turned,
    Way,
)
from api.infra.lua import Script

__all__ = ["Arg", "NotSent", "OutcomeUnknown", "Overloaded", "RedisDoor", "ScriptFailed"]

Registrar = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]
"""Given a server and the shards that it holds, answers with the epoch of each."""
Reopener = Callable[[str, int, int], Awaitable[int | None]]
"""Given a server, a shard, and the epoch that the server does not hold, answers with the epoch to
use; None where another server is registered."""

MOST_WAITING = 10_000
DOWN_SECONDS = 1.0
"""For how long a call waits for somebody to serve its shard."""
MOVING_SECONDS = 5.0
"""For how long a call waits for its shard to have one owner."""
AGAIN_SECONDS = 0.02
LOOK_PAUSE_SECONDS = 0.05
LOOK_SECONDS = 0.5
"""A server that does not tell its map in this time is left out."""
MOST_LOOKED_AT = 8


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
        self._way = Way(url)
        self._register = register
        self._reopen = reopen
        self._most_waiting = most_waiting
        self._cluster: bool | None = None  # None: nobody has asked yet
        self._links: dict[Address | None, Link] = {}
        self._of_shard: list[Link] = []
        self._nodes: frozenset[Address] = frozenset()
        self._open = False
        self._finding: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._later: dict[Call, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._refused_until = 0.0
        self._made_before = 0

    def start(self) -> None:
        """Begin to take calls; the first one connects, and each one after a loss again."""
        self._open = True

    async def open(self) -> RedisDoor:
        """Begin and connect. Raises: Unavailable."""
        self.start()
        await self.command("PING")
        return self

    async def close(self) -> None:
        """Stop; calls that wait are refused."""
        self._open = False
        tasks = [t for t in (self._finding, self._looking, *self._leaving) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for call, handle in self._later.items():
            handle.cancel()
            _refuse(call, "the counter store's door is closed")
        self._later.clear()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def up(self) -> bool:
        """Tell whether a connection stands, to every server that holds a shard."""
        return bool(self._of_shard) and all(link.up for link in set(self._of_shard))

    @property
    def generation(self) -> int:
        """Counts the connections made, so whoever sees it unchanged has lost none meanwhile."""
        return self._made_before + sum(link.made for link in self._links.values())

    def epoch(self, shard: int) -> int:
        """Return the epoch under which this shard is asked; it belongs to one run of one server.

        Raises: NotSent while that server is not connected.
        """
        epoch = self._of_shard[shard].epochs[shard] if self._of_shard else NO_EPOCH
        if epoch == NO_EPOCH:
            raise NotSent("the counter store is not connected")
        return epoch

    async def standing_epoch(self, shard: int) -> int:
        """Connect to the shard's server where that is needed, and return the shard's epoch."""
        links = await self._all_links()
        link = self._of_shard[shard] if self._of_shard else links[0]
        if link.epochs[shard] == NO_EPOCH:
            await self._ping(link)
        return self.epoch(shard)

    async def epochs(self) -> dict[int, int]:
        """Connect to whatever servers can be reached, and return the epochs of their shards.

        Raises: Unavailable when none can.
        """
        links = await self._all_links()
        outcomes = await asyncio.gather(*map(self._ping, links), return_exceptions=True)
        _raise_if_all(outcomes)
        known = ((shard, self._of_shard[shard].epochs[shard]) for shard in range(keys.SHARDS))
        return {shard: epoch for shard, epoch in known if epoch != NO_EPOCH}

    @property
    def blocks(self) -> bool:
        """Tell whether one blocking command may wait for all shards: not so in a cluster."""
        return self._cluster is False

    def call(
        self, script: Script, shard: int, keys_: Sequence[str], args: Sequence[Arg]
    ) -> Awaitable[Any]:
        """Run ``script`` on one shard; its marker and epoch go before ``keys_`` and ``args``.

        Cost: one place in the next batch. Raises: NotSent, OutcomeUnknown, Overloaded.
        """
        parts = (script.sha, len(keys_) + 1, keys.marker(shard), *keys_, *args)
        return self._submit(parts, shard, script)

    def command(self, *parts: Arg) -> Awaitable[Any]:
        """Run one plain command, of one key or of none.

        One without a key goes to every server that holds a shard; the first one's answer counts.
        """
        shard = _shard_of(parts)
        if shard is not None:
            return self._submit(parts, shard, None)
        if self._cluster is False:
            return self._submit(parts, 0, None)
        return self._everywhere(parts)

    async def renew_epoch(self, shard: int) -> int:
        """Agree with the record on the shard's epoch after a script saw another marker."""
        link, epoch = self._holder(shard), self.epoch(shard)
        server = link.server
        opened = await self._reopen(server, shard, epoch)
        if opened is None:
            # Another server is registered for the shard: see who this one is, and register it.
            self._look_soon()
            link.epochs[shard] = NO_EPOCH
            link.wanting = True
            link.doubt()
            return await self.standing_epoch(shard)
        if link.server == server and link.epochs[shard] != NO_EPOCH:
            link.epochs[shard] = opened
        await self.call(_OPEN_EPOCH, shard, (), ())
        return opened

    async def blocking(self, *parts: Arg, timeout_seconds: float) -> Any:  # noqa: ANN401 - any command's reply
        """Run one command that waits at the server, on a connection of its own."""
        links = await self._all_links()
        shard = _shard_of(parts)
        link = links[0] if shard is None else self._holder(shard)
        return await link.blocking(parts, timeout_seconds)

    def inspect(self, facts: Facts) -> None:
        """Raise Unavailable where this server must not be used."""
        if facts.eviction != "noeviction":
            raise Unavailable(
                f"the counter store may evict keys (maxmemory-policy {facts.eviction}); "
                "set maxmemory-policy noeviction"
            )
        if facts.cluster is not self._cluster:
            raise Unavailable("the counter store became a cluster, or ceased to be one; restart")

    async def claim(self, link: Link) -> None:
        """Have the epochs of the link's shards registered for its server. Raises: Unavailable."""
        held = [s for s in range(keys.SHARDS) if self._of_shard[s] is link]
        unclaimed = [s for s in held if link.epochs[s] == NO_EPOCH]
        if not unclaimed:
            return
        claimed = await self._register(link.server, unclaimed)
        for shard, epoch in claimed.items():
            if self._of_shard[shard] is link:
                link.epochs[shard] = epoch

    def turned(self, call: Call, link: Link, turned: Turned) -> None:
        """Send on, or keep for a moment, a call that a server did not carry out."""
        if call.reply.done():
            return
        now = asyncio.get_running_loop().time()
        first = call.until == 0.0
        if first:
            call.until = now + (DOWN_SECONDS if turned.down else MOVING_SECONDS)
        call.asking = False
        if turned.to is None or (turned.ask and call.script is not None) or call.shard < 0:
            if turned.down:
                self._look_soon()
            self._submit_later(call, now)
            return
        target = self._link_to(turned.to)
        if turned.ask:
            call.asking = True
            target.submit(call)
            return
        if self._of_shard[call.shard] is link:
            self._give(call.shard, target)
        self._look_soon()
        if first:
            self._of_shard[call.shard].submit(call)
        else:
            self._submit_later(call, now)

    def missed(self, link: Link) -> None:
        """Hear that a link's server cannot be reached, or is late."""
        del link
        if self._cluster:
            self._look_soon()

    def _submit(
        self, parts: tuple[Arg, ...], shard: int, script: Script | None
    ) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call = Call(parts, shard, reply, script)
        if self._of_shard and len(self._later) < self._most_waiting:
            self._of_shard[shard].submit(call)
        else:
            self._submit_first(call)
        return reply

    def _submit_first(self, call: Call) -> None:
        """Take a call while it is not known where to, or too many wait."""
        if len(self._later) >= self._most_waiting:
            call.reply.set_exception(Overloaded("too many calls wait for the counters; try again"))
            return
        loop = asyncio.get_running_loop()
        if not self._open:
            _refuse(call, "the counter store's door is closed")
        elif loop.time() < self._refused_until:
            _refuse(call, "the counter store cannot be reached")
        else:
            self._later[call] = loop.call_later(3 * TIMEOUT_SECONDS, self._submit_now, call)
            self._find_soon()

    def _submit_later(self, call: Call, now: float) -> None:
        if now >= call.until:
            _refuse(call, "the shard of these counters has no owner at present")
            return
        loop = asyncio.get_running_loop()
        self._later[call] = loop.call_later(AGAIN_SECONDS, self._submit_now, call)

    def _submit_now(self, call: Call) -> None:
        del self._later[call]
        if not self._of_shard:
            _refuse(call, "the counter store cannot be reached")
        elif not call.reply.done():
            self._of_shard[max(0, call.shard)].submit(call)

    async def _everywhere(self, parts: tuple[Arg, ...]) -> Any:  # noqa: ANN401 - any command's reply
        links = await self._all_links()
        replies = await asyncio.gather(
            *(self._at(link, parts) for link in links), return_exceptions=True
        )
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies[0]

    async def _ping(self, link: Link) -> None:
        await self._at(link, ("PING",))

    def _at(self, link: Link, parts: tuple[Arg, ...]) -> asyncio.Future[Any]:
        """Run one command on the server of this link, whatever it holds by then."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        link.submit(Call(parts, -1, reply))
        return reply

    async def _all_links(self) -> list[Link]:
        """Return the links of every server that holds a shard. Raises: NotSent."""
        if not self._of_shard:
            if not self._open:
                raise NotSent("the counter store's door is closed")
            if asyncio.get_running_loop().time() < self._refused_until:
                raise NotSent("the counter store cannot be reached")
            await asyncio.shield(self._find_soon())
        return list(dict.fromkeys(self._of_shard))

    def _holder(self, shard: int) -> Link:
        if not self._of_shard:
            raise NotSent("the counter store is not connected")
        return self._of_shard[shard]

    def _find_soon(self) -> asyncio.Task[None]:
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find(), name="redis-find")
            self._finding.add_done_callback(_heard)
        return self._finding

    async def _find(self) -> None:
        """Learn whether the URL leads to one server or to a cluster. Raises: NotSent."""
        try:
            view = await self._way.look(None)
        except NotSent as error:
            self._refused_until = asyncio.get_running_loop().time() + LOOK_PAUSE_SECONDS
            self._send_held(error.message)
            raise
        if view is None:
            self._cluster = False
            link = self._link_to(None)
            link.wanting = True
            self._of_shard = [link] * keys.SHARDS
        else:
            self._cluster = True
            holder = [self._link_to(a or self._way.address) for a in view.primaries]
            self._of_shard = holder
            self._nodes = view.nodes
            for link in set(holder):
                link.wanting = True
                _drop_outcome(self._at(link, ("PING",)))
        self._send_held()

    def _send_held(self, refusal: str | None = None) -> None:
        for call, handle in list(self._later.items()):
            handle.cancel()
            if refusal is None:
                self._submit_now(call)
            else:
                del self._later[call]
                _refuse(call, refusal)

    def _look_soon(self) -> None:
        if self._cluster and self._open and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name="redis-map")

    async def _look(self) -> None:
        """Read the map at several servers at once, and go by the one that heard the latest."""
        known = [a for a, link in self._links.items() if a is not None and link.up]
        asked = list(dict.fromkeys([*known, *self._nodes]))[:MOST_LOOKED_AT]
        looks = [asyncio.create_task(self._way.look(a)) for a in (*asked, None)]
        try:
            await asyncio.wait(looks, timeout=LOOK_SECONDS)
            views = [t.result() for t in looks if t.done() and t.exception() is None]
        finally:
            for task in looks:
                task.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        view = newest(v for v in views if v is not None)
        if view is not None:
            self._go_by(view)
        await asyncio.sleep(LOOK_PAUSE_SECONDS)

    def _go_by(self, view: View) -> None:
        """Give every shard to the server that holds it, and leave those that are gone."""
        self._nodes = view.nodes
        for shard, address in enumerate(view.primaries):
            if address is not None:
                self._give(shard, self._link_to(address))
        for address in [a for a in self._links if a not in view.nodes]:
            link = self._links[address]
            if link not in self._of_shard:
                del self._links[address]
                self._made_before += link.made
                self._leave(link)

    def _give(self, shard: int, link: Link) -> None:
        """Ask this shard over this link from now on; what waits elsewhere for it goes along."""
        before = self._of_shard[shard]
        if before is link:
            return
        self._of_shard[shard] = link
        before.epochs[shard] = NO_EPOCH
        link.epochs[shard] = NO_EPOCH
        if not link.wanting:
            link.wanting = True
            # Claimed at once, not with the first call.
            _drop_outcome(self._at(link, ("PING",)))
        for call in before.take(lambda call: call.shard == shard and not call.asking):
            link.submit(call)

    def _link_to(self, address: Address | None) -> Link:
        link = self._links.get(address)
        if link is None:
            pool = self._way.pool(address)
            link = self._links[address] = Link(pool, address, self, self._most_waiting)
            link.start()
        return link

    def _leave(self, link: Link) -> None:
        task = asyncio.create_task(link.close(), name="redis-leave")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


_OPEN_EPOCH = Script.load(__file__, "open_epoch")


def _shard_of(parts: Sequence[Arg]) -> int | None:
    """Return the shard of a command's key: its first word, or, after another, its second."""
    for part in parts[1:3]:
        shard = keys.shard_of_key(part)
        if shard is not None:
            return shard
    return None


def _refuse(call: Call, why: str) -> None:
    if not call.reply.done():
        call.reply.set_exception(NotSent(why))


def _drop_outcome(reply: asyncio.Future[Any]) -> None:
    """Let nobody wait for it, and nobody warn that its failure was never read."""
    reply.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _raise_if_all(outcomes: Iterable[object]) -> None:
    failed = [o for o in outcomes if isinstance(o, BaseException)]
    others = [o for o in failed if not isinstance(o, Unavailable)]
    for error in others or (failed if len(failed) == len(list(outcomes)) else ()):
        raise error
