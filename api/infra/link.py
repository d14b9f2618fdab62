"""One multiplexed connection to one server of the counter store, and the calls that wait for it.

Calls of one event-loop turn travel together: they wait in a queue until the loop comes round,
then go out in one write over a connection that ``way.py`` opened; ours is only the queue, in
``line.py``.

A connection is bound to the server that it reached: before anything else it reads who that is and
has the epochs of its shards registered, and every script gets the epoch that belongs to the
connection it is written to. So a server that restarted from older data, or another one in its
place, is never asked under the epoch of the one before.

Failure policy: what was never sent, or was refused, raises ``NotSent``; what was sent and not
answered raises ``OutcomeUnknown``, and the caller may repeat it only under the same operation id;
what finds too many others waiting raises ``Overloaded``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hiredis import Reader, ReplyError, pack_command

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.calls import (
    REPLACED,
    Call,
    NotSent,
    OutcomeUnknown,
    Overloaded,
    ScriptFailed,
    unheeded,
)
from api.infra.cluster import Redirect, redirect_of
from api.infra.forms import Arg
from api.infra.keeper import Keeper
from api.infra.line import Line
from api.infra.server_facts import facts_of
from api.infra.way import OUT_OF_REACH, TIMEOUT_SECONDS, Opened, Way, told

MOST_ON_THE_WAY = 1_000
"""Calls that wait for their replies; while they are so many, the next ones gather here."""
PAUSE_SECONDS = 0.1
"""After a failed connect, calls are refused at once for this long."""
QUIET_SECONDS = 1.0
"""A server that was not heard for this long is asked who it is before it is asked anything."""
NO_EPOCH = -1
_ASKING = pack_command(("ASKING",))
_NOT_YET = object()


class Link:
    """One multiplexed connection, and the calls that wait for it."""

    def __init__(self, way: Way, keeper: Keeper, most_waiting: int) -> None:
        self._way = way
        self._keeper = keeper
        self._most_waiting = most_waiting
        self._waiting: deque[Call] = deque()
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self._line: Line[Call] | None = None
        self._turning = False
        self._preparing: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._refused_until = 0.0
        self._claim_at = 0.0
        self._heard_at = 0.0
        self._doubted = False
        self._replaced = False
        self.server = ""
        self.epochs = [NO_EPOCH] * keys.SHARDS
        """By shard; ``NO_EPOCH`` of those that are not asked here."""
        self.wanting = False
        """Whether shards were given to this link whose epochs it has yet to claim."""
        self.made = 0
        """Counts the connections made."""
        self.batches = 0
        """Counts the writes: each is one journey to the server and back."""

    def stop(self) -> None:
        """Refuse calls that wait, and write no more."""
        self._loop = None
        self._refuse_waiting("the counter store's door is closed")

    async def close(self) -> None:
        """Stop; of calls that are out the outcome is unknown."""
        self.stop()
        tasks = [task for task in (self._preparing, self._claiming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._line is not None:
            self._line.end(ConnectionAbortedError("the door was closed"))
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._way.close()

    @property
    def up(self) -> bool:
        """Tell whether a connection stands."""
        return self._line is not None and self._line.stands

    def submit(self, call: Call) -> None:
        """Queue a call, or refuse it at once."""
        loop = self._loop
        if loop is None:
            call.refuse(NotSent("the counter store's door is closed"))
        elif self._line is None and loop.time() < self._refused_until:
            call.refuse(NotSent(OUT_OF_REACH))
        elif len(self._waiting) >= self._most_waiting:
            call.refuse(Overloaded("too many calls wait for the counters; try again"))
        else:
            self._waiting.append(call)
            if not self._turning:
                self._turning = True
                loop.call_soon(self._turn)

    async def claimed(self) -> None:
        """Return once no claim is under way; perhaps it failed."""
        if self._claiming is not None:
            await asyncio.wait({self._claiming})

    def doubt(self) -> None:
        """Ask the server who it is before anything else, as it may not be who it was."""
        self._doubted = True

    def take(self, leaving: Callable[[Call], bool]) -> list[Call]:
        """Return the waiting calls that leave, and forget them here."""
        calls = [call for call in self._waiting if leaving(call)]
        if calls:
            self._waiting = deque(call for call in self._waiting if not leaving(call))
        return calls

    async def blocking(self, parts: Sequence[Arg], timeout_seconds: float) -> Any:  # noqa: ANN401 - any command's reply
        """Run one command that waits at the server, on a connection of its own."""
        return await self._way.blocking(parts, timeout_seconds)

    def _turn(self) -> None:
        """Write what gathered in this turn of the loop."""
        self._turning = False
        loop, line = self._loop, self._line
        if not self._waiting or self._preparing is not None or loop is None:
            return
        if line is not None and not line.stands:
            line.end(ConnectionResetError("it hung up"))
            return
        now = loop.time()
        quiet = now - self._heard_at > QUIET_SECONDS
        if line is not None and quiet and line.waiting:
            # Not written after what is stuck: where another server takes over, they go there.
            self._keeper.missed(self)
            return
        claims = self.wanting and self._claiming is None and now >= self._claim_at
        if line is None or quiet or self._doubted or claims:
            self._preparing = loop.create_task(self._prepare(), name="redis-link")
            return
        while self._waiting and not line.full and (room := MOST_ON_THE_WAY - len(line.waiting)) > 0:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), room))]
            packed, going = self._packed(batch)
            if going:
                self.batches += 1
                line.write(going, packed)

    async def _prepare(self) -> None:
        """Have a connection to the server that it was to, or a new one, with its epochs."""
        # Whatever goes wrong, nobody waits for ever.
        lacking: str | None = OUT_OF_REACH
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._line is None or not await self._is_same(self._line):
                    await self._connect()
                if self.wanting and max(self.epochs) == NO_EPOCH:
                    await self._claim()
            if self._line is not None:
                lacking = None
                if self.wanting and self._claiming is None:
                    self._claiming = asyncio.create_task(self._claim_more(), name="redis-claim")
        except (OSError, Unavailable) as error:
            lacking = told(error)
        finally:
            self._preparing = None
            if lacking is not None:
                self._give_up(lacking)
        self._turn()

    async def _is_same(self, line: Line[Call]) -> bool:
        """Ask the server who it is, behind all that it was asked; hang up where it is another."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        line.write([Call(reply, ("INFO",))], pack_command(("INFO",)))
        try:
            same = facts_of(await reply).server == self.server and not self._replaced
        except OutcomeUnknown:
            return False
        except ScriptFailed as error:
            # It may not be asked any more: a new connection says so, or may.
            line.end(ConnectionAbortedError(str(error)))
            return False
        self._doubted = False
        if not same and self._line is line:
            # One that was demoted and promoted again kept the connection, and not the data.
            line.end(ConnectionAbortedError("the server was replaced"))
        return same

    async def _connect(self) -> None:
        opened = await self._way.open()
        try:
            self._keeper.inspect(opened.facts)
            self._line = self._line_on(opened)
        except BaseException:
            await opened.connection.disconnect(nowait=True)
            raise
        self.server = opened.facts.server
        # A claim may have come back after the connection that it was for was lost.
        self.epochs = [NO_EPOCH] * keys.SHARDS
        self.wanting = True
        self._doubted = self._replaced = False
        self._claim_at = 0.0
        self._heard_at = asyncio.get_running_loop().time()
        self.made += 1

    async def _claim(self) -> None:
        """Register a server for its shards; under no epoch nothing can be asked of it."""
        self.wanting = False
        try:
            await self._keeper.claim(self)
        except BaseException:
            self.wanting = True
            if self._line is not None:
                self._line.end(ConnectionAbortedError("it was not registered"))
            raise

    async def _claim_more(self) -> None:
        """Register it for shards that came over; the calls of those it had go on meanwhile."""
        try:
            while self.wanting:
                self.wanting = False
                await self._keeper.claim(self)
        except BaseException as error:
            self.wanting = True
            self._claim_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            if not isinstance(error, Unavailable):
                raise
        finally:
            self._claiming = None
        self._turn()

    def _give_up(self, why: str) -> None:
        self._refused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
        self._refuse_waiting(why)
        self._keeper.missed(self)

    def _refuse_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.refuse(NotSent(why))

    def _line_on(self, opened: Opened) -> Line[Call]:
        parser = Reader(protocolError=ValueError, notEnoughData=_NOT_YET)
        now = asyncio.get_running_loop().time

        def heard(waiting: deque[Call]) -> None:
            self._heard_at = now()
            next_reply = parser.gets
            while waiting and (reply := next_reply(False)) is not _NOT_YET:  # noqa: FBT003 - as bytes
                call = waiting.popleft()
                if isinstance(reply, ReplyError):
                    self._refused(call, str(reply))
                elif not call.reply.done():
                    call.reply.set_result(reply)
            if self._waiting and not self._turning:
                self._turn()

        def ended(reason: Exception) -> None:
            self._lost(opened, line, reason)

        line: Line[Call] = Line(
            opened.writer, parser, heard, ended, timeout_seconds=TIMEOUT_SECONDS
        )
        return line

    def _refused(self, call: Call, text: str) -> None:
        """End a call that was refused, or have it go again where it was not carried out."""
        code = text.partition(" ")[0]
        if code == "NOSCRIPT" and call.script is not None and call.known:
            # It waits with the script's text this time.
            call.known = False
            self._waiting.append(call)
            return
        redirect = redirect_of(text, self._way.address)
        if redirect is not None:
            # Whoever lost a shard may have lost more with it.
            self._doubted = self._doubted or code == "MOVED"
            self._keeper.turned_away(call, self, redirect)
            return
        if code in REPLACED:
            self._doubted = self._replaced = True
        call.refused(text)

    def _packed(self, batch: Sequence[Call]) -> tuple[bytes, list[Call]]:
        """Return the wire's form of what goes: not of a call that has none, and so fails alone.

        Nor of one whose caller has gone: of that nothing happens. A script whose shard has no epoch
        here goes back.
        """
        packed, going = [], []
        for call in batch:
            if call.reply.done():
                continue
            epoch = self.epochs[call.shard]
            if epoch == NO_EPOCH and call.script is not None:
                self._keeper.turned_away(call, self, Redirect(None))
                continue
            try:
                form = call.form(epoch)
            except (TypeError, ValueError) as error:
                call.reply.set_exception(error)
                continue
            if call.asking:
                packed.append(_ASKING)
                going.append(Call(unheeded(), ("ASKING",)))
            packed.append(form)
            going.append(call)
        return b"".join(packed), going

    def _lost(self, opened: Opened, line: Line[Call], reason: Exception) -> None:
        """Give up a connection; of what is out on it, nobody can tell whether it was done."""
        if self._line is line:
            self._line = None
            self.epochs = [NO_EPOCH] * keys.SHARDS
        while line.waiting:
            unknown = OutcomeUnknown(f"the counter store did not answer: {reason}")
            line.waiting.popleft().refuse(unknown)
        ending: Awaitable[None] = opened.connection.disconnect(nowait=self._loop is not None)
        task = asyncio.ensure_future(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._turn()
