"""The servers of the counter store, one or a cluster of them, and which of them holds which shard.

Of one server there is one link; of a cluster one to every primary. The map is read when the first
call comes, and again when a server says that a shard has gone, or cannot be reached.

Failure policy in a cluster: what a server turned away was not carried out. It is sent on to where
the shard has gone (MOVED), or again in a moment while its keys are in two places (ASK, TRYAGAIN)
or nobody serves it (CLUSTERDOWN); past a bound it is ``NotSent``. Only plain commands follow ASK:
a script waits until its shard has one owner, as its epoch belongs to that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.calls import Call, NotSent, Overloaded, unheeded
from api.infra.cluster import Address, Redirect, View, newest
from api.infra.link import NO_EPOCH, Link
from api.infra.server_facts import Facts
from api.infra.way import TIMEOUT_SECONDS, Way

Registrar = Callable[[str, Sequence[int]], Awaitable[dict[int, int]]]
"""Given a server and the shards that it holds, answers with the epoch of each."""

DOWN_SECONDS = 1.0
"""For how long a call waits for somebody to serve its shard."""
MOVING_SECONDS = 5.0
"""For how long a call waits for its shard to have one owner."""
AGAIN_SECONDS = 0.02
PAUSE_SECONDS = 0.05
"""Between two readings of the map."""
LOOK_SECONDS = 0.5
"""A server that does not tell its map in this time is left out."""
MOST_ASKED = 8


class Fleet:
    """The links, by shard; ``of_shard`` is empty until the servers are known."""

    def __init__(self, url: str, register: Registrar, most_waiting: int) -> None:
        self._way = Way.of(url)
        self._register = register
        self._most_waiting = most_waiting
        self._open = False
        self._links: dict[Address | None, Link] = {}
        self._nodes: frozenset[Address] = frozenset()
        self._finding: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._later: dict[Call, asyncio.TimerHandle] = {}
        self._refused_until = 0.0
        self._left = [0, 0]
        self.cluster: bool | None = None
        """Whether it is one; None while nobody has asked."""
        self.of_shard: list[Link] = []

    def start(self) -> None:
        """Begin to take calls; the first one connects."""
        self._open = True

    async def close(self) -> None:
        """Stop; calls that wait are refused."""
        self._open = False
        for link in self._links.values():
            link.stop()
        tasks = [t for t in (self._finding, self._looking, *self._leaving) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._send_kept("the counter store's door is closed")
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._way.close()

    @property
    def made(self) -> int:
        """Counts the connections made."""
        return self._left[0] + sum(link.made for link in self._links.values())

    @property
    def batches(self) -> int:
        """Counts the writes."""
        return self._left[1] + sum(link.batches for link in self._links.values())

    async def holders(self) -> list[Link]:
        """Return the link of every server that holds a shard. Raises: NotSent."""
        if not self.of_shard:
            self._expect_open()
            await asyncio.shield(self._find_soon())
        return list(dict.fromkeys(self.of_shard))

    def submit(self, call: Call) -> None:
        """Queue a call on its shard's link, or keep it until the links are known."""
        if len(self._later) >= self._most_waiting:
            call.refuse(Overloaded("too many calls wait for the counters; try again"))
        elif self.of_shard:
            self.of_shard[call.shard].submit(call)
        else:
            try:
                self._expect_open()
            except NotSent as error:
                call.refuse(error)
                return
            self._keep(call, 2 * TIMEOUT_SECONDS)
            self._find_soon()

    def inspect(self, facts: Facts) -> None:
        """Raise Unavailable where this server must not be used."""
        facts.expect_no_eviction()
        if facts.cluster is not self.cluster:
            raise Unavailable("the counter store became a cluster, or ceased to be one: restart")

    async def claim(self, link: Link) -> None:
        """Have the epochs of the link's shards registered for its server. Raises: Unavailable."""
        shards = [
            shard
            for shard in range(keys.SHARDS)
            if self.of_shard[shard] is link and link.epochs[shard] == NO_EPOCH
        ]
        if not shards:
            return
        # What comes back is of this connection: meanwhile another server may have had its turn.
        made = link.made
        for shard, epoch in (await self._register(link.server, shards)).items():
            if self.of_shard[shard] is link and link.made == made:
                link.epochs[shard] = epoch

    def turned_away(self, call: Call, link: Link, redirect: Redirect) -> None:
        """Send on, or keep for a moment, a call that a server did not carry out."""
        if call.reply.done():
            return
        now = asyncio.get_running_loop().time()
        first = call.until == 0.0
        if first:
            call.until = now + (DOWN_SECONDS if redirect.down else MOVING_SECONDS)
        call.asking = redirect.ask and call.script is None
        if call.asking and redirect.to is not None:
            self._link_to(redirect.to).submit(call)
            return
        if redirect.down:
            self.look_soon()
        if redirect.to is not None and not redirect.ask:
            if self.of_shard[call.shard] is link:
                self._give(call.shard, self._link_to(redirect.to))
            self.look_soon()
            if first:
                self.of_shard[call.shard].submit(call)
                return
        if now < call.until:
            self._keep(call, AGAIN_SECONDS)
        else:
            call.refuse(NotSent("the shard of these counters has no owner at present"))

    def missed(self, link: Link) -> None:
        """Hear that a link's server cannot be reached, or does not answer."""
        del link
        self.look_soon()

    def look_soon(self) -> None:
        """Have the map read again, unless somebody is at it."""
        if self.cluster and self._open and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name="redis-map")

    def _expect_open(self) -> None:
        if not self._open:
            raise NotSent("the counter store's door is closed")
        if asyncio.get_running_loop().time() < self._refused_until:
            raise NotSent("the counter store cannot be reached")

    def _keep(self, call: Call, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._later[call] = loop.call_later(seconds, self._send_again, call)

    def _send_again(self, call: Call) -> None:
        del self._later[call]
        if not self.of_shard:
            call.refuse(NotSent("the counter store cannot be reached"))
        elif not call.reply.done():
            self.of_shard[call.shard].submit(call)

    def _send_kept(self, refusal: str | None = None) -> None:
        for call, handle in list(self._later.items()):
            handle.cancel()
            if refusal is None:
                self._send_again(call)
            else:
                del self._later[call]
                call.refuse(NotSent(refusal))

    def _find_soon(self) -> asyncio.Task[None]:
        if self._finding is None or self._finding.done():
            self._finding = asyncio.create_task(self._find(), name="redis-find")
            # Whoever waits for it hears of it; perhaps nobody does.
            self._finding.add_done_callback(lambda t: t.cancelled() or t.exception())
        return self._finding

    async def _find(self) -> None:
        """Learn whether the URL leads to one server or to a cluster. Raises: NotSent."""
        try:
            view = await self._way.look()
        except NotSent as error:
            self._refused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
            self._send_kept(error.message)
            raise
        if view is None:
            self.cluster = False
            self.of_shard = [self._link_to(None)] * keys.SHARDS
        else:
            self.cluster = True
            self._nodes = view.nodes
            self.of_shard = [self._link_to(a or self._way.address) for a in view.primaries]
            for link in set(self.of_shard):
                link.submit(Call(unheeded(), ("PING",)))
        self._send_kept()

    async def _look(self) -> None:
        """Read the map at several servers at once, and go by the one that heard the latest."""
        up = [a for a, link in self._links.items() if a is not None and link.up]
        asked = list(dict.fromkeys([*up, *self._nodes]))[:MOST_ASKED]
        ways = [*map(self._way.to, asked), self._way]
        looks = [asyncio.create_task(way.look()) for way in ways]
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
        await asyncio.sleep(PAUSE_SECONDS)

    def _go_by(self, view: View) -> None:
        """Give every shard to the server that holds it, and leave servers that are gone."""
        self._nodes = view.nodes
        for shard, address in enumerate(view.primaries):
            if address is not None:
                self._give(shard, self._link_to(address))
        for address, link in list(self._links.items()):
            if address not in view.nodes and link not in self.of_shard:
                del self._links[address]
                self._left[0] += link.made
                self._left[1] += link.batches
                task = asyncio.create_task(link.close(), name="redis-leave")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    def _give(self, shard: int, link: Link) -> None:
        """Ask this shard over this link from now on; what waits elsewhere for it goes along."""
        before = self.of_shard[shard]
        if before is link:
            return
        self.of_shard[shard] = link
        before.epochs[shard] = link.epochs[shard] = NO_EPOCH
        if not link.wanting:
            link.wanting = True
            # So that it is claimed now, not with the first call.
            link.submit(Call(unheeded(), ("PING",)))
        for call in before.take(lambda call: call.shard == shard and not call.asking):
            link.submit(call)

    def _link_to(self, address: Address | None) -> Link:
        link = self._links.get(address)
        if link is None:
            way = self._way if address is None else self._way.to(address)
            link = Link(way, self, self._most_waiting)
            self._links[address] = link
        return link
