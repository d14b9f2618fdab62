"""The door to Redis: the only module that knows the redis package (and hiredis, its fast half).

Calls of one event-loop turn travel together: they wait in a queue until the loop comes round,
then go out in one write over one connection of the redis package (its handshake, TLS,
authentication and parser; ours is only the queue). While a batch is out the next one gathers.

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
from dataclasses import dataclass, field
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.lua import Script

log = logging.getLogger(__name__)

Arg = str | bytes | int
Registrar = Callable[[str], Awaitable[list[int]]]
"""Given a server's run id, answers with the epoch of every shard."""
Reopener = Callable[[int, int], Awaitable[int]]
"""Given a shard and the epoch that the server does not hold, answers with the epoch to use."""

MOST_WAITING = 20_000
MOST_IN_A_BATCH = 1_000
TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.1
"""After a failed connect, calls are refused at once for this long."""


class NotSent(Unavailable):
    """The call never left; nothing happened."""


class OutcomeUnknown(Unavailable):
    """The call was sent, and whether it was carried out is not known."""


class ScriptFailed(Exception):
    """The server refused a script: a defect in it, or a server that is set up wrongly."""


@dataclass(slots=True)
class _Call:
    """One command that waits for its reply; ``shard`` -1 is not a script."""

    parts: tuple[Arg, ...]
    shard: int
    reply: asyncio.Future[Any]
    script: Script | None = None
    again: bool = False


@dataclass(slots=True)
class _Link:
    """A connection and the epochs under which its server may be asked."""

    connection: AbstractConnection
    run_id: str
    epochs: list[int] = field(default_factory=list)


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
        self._arrived = asyncio.Event()
        self._link: _Link | None = None
        self._refused_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        """Counts the connections made; state read under one generation belongs to one server."""

    def start(self) -> None:
        """Start the queue; the first call connects, and each one after a loss again."""
        self._task = asyncio.create_task(self._run(), name="redis-door")

    async def open(self) -> RedisDoor:
        """Start the queue and connect. Raises: Unavailable."""
        self.start()
        await self.command("PING")
        return self

    async def close(self) -> None:
        """Stop; calls that wait are refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        _fail(self._waiting, NotSent("the counter store's door is closed"))
        await self._drop(wait=True)
        await self._pool.aclose()

    @property
    def up(self) -> bool:
        """Tell whether a connection stands."""
        return self._link is not None and self._link.connection.is_connected

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
        parts = (script.sha, len(keys_) + 1, keys.marker(shard), *keys_, *args)
        return self._submit(parts, shard, script)

    def command(self, *parts: Arg) -> Awaitable[Any]:
        """Run one plain command."""
        return self._submit(parts, -1, None)

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
        self, parts: tuple[Arg, ...], shard: int, script: Script | None
    ) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        if self._task is None or self._task.done():
            reply.set_exception(NotSent("the counter store's door is closed"))
        elif loop.time() < self._refused_until:
            reply.set_exception(NotSent("the counter store cannot be reached"))
        elif len(self._waiting) >= MOST_WAITING:
            reply.set_exception(NotSent("too many calls wait for the counter store"))
        else:
            self._waiting.append(_Call(parts, shard, reply, script))
            self._arrived.set()
        return reply

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                link = await self._connected()
                if link is None:
                    continue
                await self._exchange(link)

    async def _connected(self) -> _Link | None:
        if self._link is not None and not _hung_up(self._link.connection):
            return self._link
        await self._drop()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._link = await self._connect()
        except (RedisError, OSError, Unavailable) as error:
            self._refused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
            _fail(self._waiting, NotSent(f"the counter store cannot be reached: {error}"))
            await self._drop()
            return None
        self.generation += 1
        return self._link

    async def _connect(self) -> _Link:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
            info = await _ask(connection, "INFO", "server")
            run_id = _field(info, "run_id")
            _expect_no_eviction(await _ask(connection, "INFO", "memory"))
            link = _Link(connection, run_id, await self._register(run_id))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return link

    async def _exchange(self, link: _Link) -> None:
        """Write one batch and read its replies."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_BATCH))]
        connection = link.connection
        answered = 0
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                packed, batch = _packed_all(batch, link)
                await connection.send_packed_command(packed, check_health=False)
                for call in batch:
                    try:
                        reply: Any = await connection.read_response(disable_decoding=True)
                    except ResponseError as error:
                        reply = error
                    answered += 1
                    self._settle(call, reply)
        except (RedisError, OSError) as error:
            await self._drop()
            unknown = OutcomeUnknown(f"the counter store did not answer: {error}")
            _fail(deque(batch[answered:]), unknown)
        except asyncio.CancelledError:
            await self._drop()
            _fail(deque(batch[answered:]), OutcomeUnknown("the counter store's door was closed"))
            raise

    def _settle(self, call: _Call, reply: Any) -> None:  # noqa: ANN401 - any command's reply
        if isinstance(reply, NoScriptError) and call.script is not None and not call.again:
            # Not carried out, so it may go again; it waits with the script's text this time.
            call.again = True
            self._waiting.append(call)
        elif call.reply.done():
            return
        elif isinstance(reply, ResponseError):
            name = call.script.name if call.script else str(call.parts[0])
            log.error("the counter store refused %s: %s", name, reply)
            call.reply.set_exception(_refusal(name, reply))
        else:
            call.reply.set_result(reply)

    async def _drop(self, *, wait: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.connection.disconnect(nowait=not wait)


_OPEN_EPOCH = Script.load(__file__, "open_epoch")


def _expect_no_eviction(memory: str) -> None:
    policy = _field(memory, "maxmemory_policy")
    if policy != "noeviction":
        raise Unavailable(
            f"the counter store may evict keys (maxmemory-policy {policy}); "
            "set maxmemory-policy noeviction"
        )


def _hung_up(connection: AbstractConnection) -> bool:
    """Tell whether the server ended the connection, as far as this side has heard."""
    reader = connection._reader  # noqa: SLF001 - nothing public tells without waiting or writing
    return reader is None or reader.at_eof() or reader.exception() is not None


def _packed_all(batch: list[_Call], link: _Link) -> tuple[bytes, list[_Call]]:
    """Return the batch in the wire's form, without calls that have none: those fail alone."""
    packed, going = [], []
    for call in batch:
        try:
            packed.append(_packed(call, link))
        except (TypeError, ValueError) as error:
            if not call.reply.done():
                call.reply.set_exception(error)
        else:
            going.append(call)
    return b"".join(packed), going


def _packed(call: _Call, link: _Link) -> bytes:
    # The stub of hiredis forgets that the tuple may have any length.
    packed: bytes = pack_command(_words(call, link))  # type: ignore[arg-type]
    return packed


def _words(call: _Call, link: _Link) -> tuple[Arg, ...]:
    if call.script is None:
        return call.parts
    sha, count = call.parts[0], call.parts[1]
    end = 2 + int(count)
    head: tuple[Arg, ...] = ("EVAL", call.script.text) if call.again else ("EVALSHA", sha)
    return (*head, *call.parts[1:end], link.epochs[call.shard], *call.parts[end:])


def _refusal(name: str, error: ResponseError) -> Exception:
    text = str(error)
    if text.startswith(
        ("OOM", "LOADING", "READONLY", "MASTERDOWN", "BUSY", "MISCONF", "NOREPLICAS")
    ):
        return NotSent(f"the counter store refuses writes: {text}")
    return ScriptFailed(f"{name}: {text}")


def _fail(calls: deque[_Call], error: Unavailable) -> None:
    while calls:
        call = calls.popleft()
        if not call.reply.done():
            call.reply.set_exception(error)


async def _ask(connection: AbstractConnection, *words: str) -> str:
    await connection.send_command(*words)
    reply = await connection.read_response()
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _field(info: str, name: str) -> str:
    for line in info.splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""
