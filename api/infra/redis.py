"""The door to Redis: the only module that knows the redis package (and hiredis, its fast half).

Calls of one event-loop turn travel together: they wait in a queue until the loop comes round,
then go out in one write over one connection of the redis package (its handshake, TLS and
authentication; ours is only the queue, in ``line.py``).

A connection is bound to the server that it reached: before anything else it reads the server's
run id and has the epochs of its shards registered, and every script gets the epoch that belongs
to the connection it is written to. So a server that restarted from older data, or another one in
its place, is never asked under the epoch of the one before.

Failure policy: what was never sent raises ``NotSent``; what was sent and not answered raises
``OutcomeUnknown``, and the caller may repeat it only under the same operation id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import Reader, ReplyError, pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.line import Line
from api.infra.lua import Script
from api.infra.server_facts import expect_no_eviction, fact

log = logging.getLogger(__name__)

Arg = str | bytes | int
Registrar = Callable[[str], Awaitable[list[int]]]
"""Given a server's run id, answers with the epoch of every shard."""
Reopener = Callable[[int, int], Awaitable[int]]
"""Given a shard and the epoch that the server does not hold, answers with the epoch to use."""

MOST_WAITING = 20_000
MOST_ON_THE_WAY = 1_000
"""Calls that wait for their replies; while they are so many, the next ones gather here."""
TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.1
"""After a failed connect, calls are refused at once for this long."""


_NOT_YET = object()


class NotSent(Unavailable):
    """The call never left; nothing happened."""


class OutcomeUnknown(Unavailable):
    """The call was sent, and whether it was carried out is not known."""


class ScriptFailed(Exception):
    """The server refused a script: a defect in it, or a server that is set up wrongly."""


@dataclass(slots=True)
class _Call:
    """One command that waits for its reply; of a script the epoch goes between its parts."""

    reply: asyncio.Future[Any]
    head: Sequence[Arg]
    args: Sequence[Arg] = ()
    shard: int = -1
    script: Script | None = None


@dataclass(slots=True)
class _Link:
    """A connection and the epochs under which its server may be asked."""

    connection: AbstractConnection
    epochs: list[int]
    line: Line[_Call]


class RedisDoor:
    """One multiplexed connection; every method may raise ``Unavailable``."""

    def __init__(self, url: str, *, register: Registrar, reopen: Reopener) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._register = register
        self._reopen = reopen
        self._waiting: deque[_Call] = deque()
        self._link: _Link | None = None
        self._refused_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turning = False
        self._connecting: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.generation = 0
        """Counts the connections made; state read under one generation belongs to one server."""
        self.batches = 0
        """Counts the writes: each is one journey to the server and back."""

    def start(self) -> None:
        """Open the queue; the first call connects, and each one after a loss again."""
        self._loop = asyncio.get_running_loop()

    async def open(self) -> RedisDoor:
        """Start the queue and connect. Raises: Unavailable."""
        self.start()
        await self.command("PING")
        return self

    async def close(self) -> None:
        """Stop; calls that wait are refused, and of those that are out the outcome is unknown."""
        self._loop = None
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        _fail(self._waiting, NotSent("the counter store's door is closed"))
        if self._link is not None:
            self._link.line.end(ConnectionAbortedError("the door was closed"))
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._pool.aclose()

    @property
    def up(self) -> bool:
        """Tell whether a connection stands."""
        return self._link is not None and self._link.line.stands

    def epoch(self, shard: int) -> int:
        """Return the epoch under which this shard is asked. Raises: NotSent when not connected."""
        if self._link is None:
            raise NotSent("the counter store is not connected")
        return self._link.epochs[shard]

    def call(
        self, script: Script, shard: int, keys_: Sequence[str], args: Sequence[Arg]
    ) -> Awaitable[Any]:
        """Run ``script`` on one shard; its marker and epoch go before ``keys_`` and ``args``.

        Cost: one place in the next batch. Raises: NotSent, OutcomeUnknown.
        """
        head: tuple[Arg, ...] = ("EVALSHA", script.sha, len(keys_) + 1, keys.marker(shard), *keys_)
        return self._submit(head, args, shard, script)

    def command(self, *parts: Arg) -> Awaitable[Any]:
        """Run one plain command."""
        return self._submit(parts)

    async def renew_epoch(self, shard: int) -> int:
        """Agree with the record on the shard's epoch after a script saw another marker."""
        link = self._link
        if link is None:
            raise NotSent("the counter store is not connected")
        epoch = await self._reopen(shard, link.epochs[shard])
        link.epochs[shard] = epoch
        await self.call(_OPEN_EPOCH, shard, (), ())
        return epoch

    async def blocking(self, *parts: Arg, timeout_seconds: float) -> Any:  # noqa: ANN401 - as above
        """Run one command that waits at the server, on a connection of its own."""
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        except (RedisError, OSError) as error:
            raise NotSent(f"the counter store cannot be reached: {error}") from error
        try:
            await connection.send_command(*parts)
            return await connection.read_response(timeout=timeout_seconds)
        except (RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise OutcomeUnknown(f"the counter store did not answer: {error}") from error
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)

    def _submit(
        self,
        head: Sequence[Arg],
        args: Sequence[Arg] = (),
        shard: int = -1,
        script: Script | None = None,
    ) -> asyncio.Future[Any]:
        loop = self._loop
        if loop is None:
            return _refused("the counter store's door is closed")
        if self._link is None and loop.time() < self._refused_until:
            return _refused("the counter store cannot be reached")
        if len(self._waiting) >= MOST_WAITING:
            return _refused("too many calls wait for the counter store")
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Call(reply, head, args, shard, script))
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn)
        return reply

    def _turn(self) -> None:
        """Write what gathered in this turn of the loop."""
        self._turning = False
        waiting, link = self._waiting, self._link
        if link is None:
            if waiting and self._connecting is None and self._loop is not None:
                self._connecting = self._loop.create_task(self._connect(), name="redis-door")
            return
        if not link.line.stands:
            link.line.end(ConnectionResetError("it hung up"))
            return
        line = link.line
        while waiting and not line.full and (room := MOST_ON_THE_WAY - len(line.waiting)) > 0:
            batch = [waiting.popleft() for _ in range(min(len(waiting), room))]
            packed, going = _packed(batch, link.epochs)
            if going:
                self.batches += 1
                line.write(going, packed)

    async def _connect(self) -> None:
        """Connect, and write what waits; or refuse it."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._link = await self._new_link()
        except (RedisError, OSError, Unavailable) as error:
            _fail(self._waiting, NotSent(f"the counter store cannot be reached: {error}"))
        else:
            self.generation += 1
        finally:
            self._connecting = None
            if self._link is None:
                self._refused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
                # Whatever went wrong, nobody waits for ever.
                _fail(self._waiting, NotSent("the counter store cannot be reached"))
        self._turn()

    async def _new_link(self) -> _Link:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
            await connection.send_command("INFO")
            info = str(await connection.read_response(disable_decoding=True), "utf-8")
            expect_no_eviction(info)
            epochs = await self._register(fact(info, "run_id"))
            return _Link(connection, epochs, self._line(connection))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def _line(self, connection: AbstractConnection) -> Line[_Call]:
        writer = connection._writer  # noqa: SLF001 - nothing public hands over what it opened
        reader = connection._reader  # noqa: SLF001 - likewise
        if writer is None or reader is None or reader.at_eof() or writer.transport.is_closing():
            raise ConnectionResetError("it hung up")
        parser = Reader(protocolError=ValueError, notEnoughData=_NOT_YET)

        def heard(waiting: deque[_Call]) -> None:
            next_reply, settle = parser.gets, self._settle
            while waiting and (reply := next_reply(False)) is not _NOT_YET:  # noqa: FBT003 - as bytes
                settle(waiting.popleft(), reply)
            if self._waiting and not self._turning:
                self._turn()

        def ended(reason: Exception) -> None:
            self._lost(connection, reason)

        return Line(writer, parser, heard, ended, timeout_seconds=TIMEOUT_SECONDS)

    def _settle(self, call: _Call, reply: Any) -> None:  # noqa: ANN401 - any command's reply
        if call.reply.done():
            return
        if not isinstance(reply, ReplyError):
            call.reply.set_result(reply)
            return
        text = str(reply)
        if text.startswith("NOSCRIPT") and call.script is not None and call.head[0] == "EVALSHA":
            # Not carried out, so it may go again; it waits with the script's text this time.
            call.head = ("EVAL", call.script.text, *call.head[2:])
            self._waiting.append(call)
            return
        name = call.script.name if call.script else str(call.head[0])
        log.error("the counter store refused %s: %s", name, text)
        call.reply.set_exception(_refusal(name, text))

    def _lost(self, connection: AbstractConnection, reason: Exception) -> None:
        """Give up a connection; of what is out on it, nobody can tell whether it was done."""
        link = self._link
        if link is not None and link.connection is connection:
            self._link = None
            _fail(link.line.waiting, OutcomeUnknown(f"the counter store did not answer: {reason}"))
        ending = connection.disconnect(nowait=self._loop is not None)
        task = asyncio.get_running_loop().create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._turn()


_OPEN_EPOCH = Script.load(__file__, "open_epoch")


def _packed(batch: Sequence[_Call], epochs: Sequence[int]) -> tuple[bytes, list[_Call]]:
    """Return the wire's form of what goes: not of a call that has none, and so fails alone.

    Nor of one whose caller has gone: of that nothing happens.
    """
    packed, going = [], []
    for call in batch:
        if call.reply.done():
            continue
        words = call.head
        if call.script is not None:
            words = (*words, epochs[call.shard], *call.args)
        try:
            # The stub of hiredis forgets that the tuple may have any length.
            packed.append(pack_command(words))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            call.reply.set_exception(error)
        else:
            going.append(call)
    return b"".join(packed), going


def _refusal(name: str, text: str) -> Exception:
    if text.startswith(
        ("OOM", "LOADING", "READONLY", "MASTERDOWN", "BUSY", "MISCONF", "NOREPLICAS")
    ):
        return NotSent(f"the counter store refuses writes: {text}")
    return ScriptFailed(f"{name}: {text}")


def _refused(why: str) -> asyncio.Future[Any]:
    reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    reply.set_exception(NotSent(why))
    return reply


def _fail(calls: deque[_Call], error: Unavailable) -> None:
    while calls:
        call = calls.popleft()
        if not call.reply.done():
            call.reply.set_exception(error)
