"""The way to one server of the counter store, the only module that knows the redis package.

Calls of one event-loop turn travel together: they wait in a queue until the loop comes round,
then go out in one write over one connection of the redis package (its handshake, TLS,
authentication and parser; ours is only the queue). While a batch is out the next one gathers.

A connection is bound to the server that it reached: before anything else it reads who that is and
has the epochs of its shards registered, and every script gets the epoch that belongs to the
connection it is written to. So a server that restarted from older data, or another one in its
place, is never asked under the epoch of the one before.

Failure policy: what was never sent raises ``NotSent``; what was sent and not answered raises
``OutcomeUnknown``, and the caller may repeat it only under the same operation id; what finds too
many others waiting raises ``Overloaded``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.asyncio.connection import UnixDomainSocketConnection as OverSocket
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.cluster import Address, View, view_of
from api.infra.lua import Script

log = logging.getLogger(__name__)

Arg = str | bytes | int

MOST_IN_A_BATCH = 1_000
TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.1
"""After a failed connect, calls are refused at once for this long."""
QUIET_SECONDS = 1.0
"""A server that was not heard for this long is asked again who it is."""
LATE_SECONDS = 1.0
"""A batch without its answers for this long has the map of the cluster read again."""
NO_EPOCH = -1
_ASKING = pack_command(("ASKING",))
_AFRESH = ("LOADING", "READONLY", "MASTERDOWN")
_REFUSED = ("OOM", "BUSY", "MISCONF", "NOREPLICAS", *_AFRESH)


class NotSent(Unavailable):
    """The call never left, or was not carried out; nothing happened."""


class OutcomeUnknown(Unavailable):
    """The call was sent, and whether it was carried out is not known."""


class Overloaded(Unavailable):
    """Too many calls wait for one server; nothing happened, and the counters are not lost."""


class ScriptFailed(Exception):
    """The server refused a script: a defect in it, or a server that is set up wrongly."""


@dataclass(slots=True, eq=False)
class Call:
    """One command that waits for its reply; ``shard`` -1 is meant for one server.

    ``asking``: it goes to a server that is just being given its key. ``until``: when to give up
    being sent on, by the loop's time.
    """

    parts: tuple[Arg, ...]
    shard: int
    reply: asyncio.Future[Any]
    script: Script | None = None
    again: bool = False
    asking: bool = False
    until: float = 0.0


class Facts(NamedTuple):
    """What a server says about itself.

    ``server`` names a run of it as well as the history that it continues: a process that was
    demoted and promoted again has another one, as what it held in between may be lost.
    """

    server: str
    eviction: str
    cluster: bool


class Turned(NamedTuple):
    """Where a call belongs that was turned away: ``to`` one server, for good or (``ask``) once.

    No ``to``: nowhere at present, and ``down`` where that is because the cluster is.
    """

    to: Address | None
    ask: bool = False
    down: bool = False


class Keeper(Protocol):
    """The door, as its links see it."""

    def inspect(self, facts: Facts) -> None:
        """Raise Unavailable where this server must not be used."""

    async def claim(self, link: Link) -> None:
        """Have the epochs of the link's shards registered. Raises: Unavailable."""

    def turned(self, call: Call, link: Link, turned: Turned) -> None:
        """Take back a call that was not carried out."""

    def missed(self, link: Link) -> None:
        """Hear that the link's server cannot be reached, or is late."""


class Way:
    """How servers are reached: what the URL says of user, password and TLS, at any address."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        told = self._pool.connection_kwargs
        self.address: Address = (told.get("host", "127.0.0.1"), int(told.get("port", 6379)))
        """Of the server that the URL names."""

    def pool(self, address: Address | None) -> ConnectionPool:
        """Return a pool for the server at this address; None is the one that the URL names."""
        if address is None:
            return self._pool
        told = {k: v for k, v in self._pool.connection_kwargs.items() if k not in {"path", "db"}}
        kind = self._pool.connection_class
        return ConnectionPool(
            connection_class=Connection if issubclass(kind, OverSocket) else kind,
            **{**told, "host": address[0], "port": address[1]},
        )

    async def look(self, address: Address | None) -> View | None:
        """Return how a server sees the cluster, None where it belongs to none. Raises: NotSent.

        Cost: a connection of its own, as the one for calls may be what hangs.
        """
        pool = self.pool(address)
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
                if not (await _facts(connection)).cluster:
                    return None
                info = await _ask(connection, "CLUSTER", "INFO")
                await connection.send_command("CLUSTER", "SLOTS")
                slots: Any = await connection.read_response()
                return view_of(address or self.address, info, slots)
        except (RedisError, OSError) as error:
            raise NotSent(f"the counter store cannot be reached: {error}") from error
        finally:
            await connection.disconnect(nowait=True)


class Link:
    """One multiplexed connection, and the calls that wait for it."""

    def __init__(
        self, pool: ConnectionPool, address: Address | None, keeper: Keeper, most_waiting: int
    ) -> None:
        self.address = address
        self._pool = pool
        self._keeper = keeper
        self._most_waiting = most_waiting
        self._waiting: deque[Call] = deque()
        self._arrived = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._refused_until = 0.0
        self._heard_at = 0.0
        self._doubted = False
        self._worn = False
        self._task: asyncio.Task[None] | None = None
        self.server = ""
        self.epochs = [NO_EPOCH] * keys.SHARDS
        """By shard; ``NO_EPOCH`` of those that are not asked here."""
        self.wanting = False
        """Whether shards were given to this link whose epochs it has yet to claim."""
        self.made = 0
        """Counts the connections made."""

    def start(self) -> None:
        """Start the queue; the first call connects, and each one after a loss again."""
        self._task = asyncio.create_task(self._run(), name="redis-link")

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
        return self._connection is not None and self._connection.is_connected

    def submit(self, call: Call) -> None:
        """Queue a call, or refuse it at once."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            call.reply.set_exception(NotSent("the counter store's door is closed"))
        elif loop.time() < self._refused_until:
            call.reply.set_exception(NotSent("the counter store cannot be reached"))
        elif len(self._waiting) >= self._most_waiting:
            call.reply.set_exception(Overloaded("too many calls wait for the counters; try again"))
        else:
            self._waiting.append(call)
            self._arrived.set()

    def doubt(self) -> None:
        """Ask the server who it is before the next batch, as it may not be who it was."""
        self._doubted = True

    def take(self, leaving: Callable[[Call], bool]) -> list[Call]:
        """Return the waiting calls that leave, and forget them here."""
        calls = [call for call in self._waiting if leaving(call)]
        if calls:
            stay = [call for call in self._waiting if not leaving(call)]
            self._waiting.clear()
            self._waiting.extend(stay)
        return calls

    async def blocking(self, parts: Sequence[Arg], timeout_seconds: float) -> Any:  # noqa: ANN401 - any command's reply
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

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                connection = await self._ready()
                if connection is not None:
                    await self._exchange(connection)

    async def _ready(self) -> AbstractConnection | None:
        """Return the connection once it is to the server that it was, and has its epochs."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection = self._connection
                if connection is None or not await self._stands(connection):
                    await self._drop()
                    connection = await self._connect()
                while self.wanting:
                    self.wanting = False
                    await self._keeper.claim(self)
        except (RedisError, OSError, Unavailable) as error:
            self._refused_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
            _fail(self._waiting, NotSent(f"the counter store cannot be reached: {error}"))
            await self._drop()
            self._keeper.missed(self)
            return None
        return connection

    async def _stands(self, connection: AbstractConnection) -> bool:
        if self._worn or _hung_up(connection):
            return False
        now = asyncio.get_running_loop().time()
        if now - self._heard_at <= QUIET_SECONDS and not self._doubted:
            return True
        # One that was demoted meanwhile and promoted again kept the connection, not the data.
        facts = await _facts(connection)
        self._heard_at, self._doubted = now, False
        return facts.server == self.server

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
            facts = await _facts(connection)
            self._keeper.inspect(facts)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection, self.server = connection, facts.server
        self._heard_at = asyncio.get_running_loop().time()
        self._doubted, self._worn, self.wanting = False, False, True
        self.made += 1
        return connection

    async def _exchange(self, connection: AbstractConnection) -> None:
        """Write one batch and read its replies."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_BATCH))]
        answered = 0
        loop = asyncio.get_running_loop()
        late = loop.call_later(LATE_SECONDS, self._keeper.missed, self)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                packed, batch = self._packed_all(batch)
                await connection.send_packed_command(packed, check_health=False)
                for call in batch:
                    if call.asking:
                        await _reply(connection)
                    reply = await _reply(connection)
                    answered += 1
                    self._settle(call, reply)
            self._heard_at = loop.time()
        except (RedisError, OSError) as error:
            await self._drop()
            unknown = OutcomeUnknown(f"the counter store did not answer: {error}")
            _fail(batch[answered:], unknown)
        except asyncio.CancelledError:
            await self._drop()
            _fail(batch[answered:], OutcomeUnknown("the counter store's door was closed"))
            raise
        finally:
            late.cancel()

    def _settle(self, call: Call, reply: Any) -> None:  # noqa: ANN401 - any command's reply
        if isinstance(reply, RedisError):
            self._settle_refused(call, reply)
        elif not call.reply.done():
            call.reply.set_result(reply)

    def _settle_refused(self, call: Call, error: RedisError) -> None:
        """End a call that was refused, or have it go again where it was not carried out."""
        if isinstance(error, NoScriptError) and call.script is not None and not call.again:
            # It waits with the script's text this time.
            call.again = True
            self._waiting.append(call)
        elif isinstance(error, MovedError):
            # Whoever lost a shard may have lost more with it: ask who it is.
            self._doubted = True
            self._keeper.turned(call, self, Turned(self._told(error)))
        elif isinstance(error, AskError):
            self._keeper.turned(call, self, Turned(self._told(error), ask=True))
        elif isinstance(error, TryAgainError):
            self._keeper.turned(call, self, Turned(None))
        elif isinstance(error, ClusterDownError) and _code(error) == "CLUSTERDOWN":
            self._keeper.turned(call, self, Turned(None, down=True))
        else:
            if _code(error) in _AFRESH:
                # The address may lead to another server by now.
                self._worn = True
            if not call.reply.done():
                name = call.script.name if call.script else str(call.parts[0])
                log.error("the counter store refused %s: %s", name, error)
                call.reply.set_exception(_refusal(name, error))

    def _told(self, error: AskError) -> Address:
        host = error.host or (self.address[0] if self.address else "")
        return (host, error.port)

    def _packed_all(self, batch: Iterable[Call]) -> tuple[bytes, list[Call]]:
        """Return the batch in the wire's form, and the calls that are in it.

        Without those that nobody waits for any more, those that have no such form, which fail
        alone, and those whose shard has no epoch here, which go back.
        """
        packed: list[bytes] = []
        going: list[Call] = []
        for call in batch:
            if call.reply.done():
                continue
            if call.script is not None and self.epochs[call.shard] == NO_EPOCH:
                self._keeper.turned(call, self, Turned(None))
                continue
            try:
                # The stub of hiredis forgets that the tuple may have any length.
                words: bytes = pack_command(self._words(call))  # type: ignore[arg-type]
            except (TypeError, ValueError) as error:
                call.reply.set_exception(error)
                continue
            packed.append(_ASKING + words if call.asking else words)
            going.append(call)
        return b"".join(packed), going

    def _words(self, call: Call) -> tuple[Arg, ...]:
        if call.script is None:
            return call.parts
        sha, count = call.parts[0], call.parts[1]
        end = 2 + int(count)
        head: tuple[Arg, ...] = ("EVAL", call.script.text) if call.again else ("EVALSHA", sha)
        return (*head, *call.parts[1:end], self.epochs[call.shard], *call.parts[end:])

    async def _drop(self, *, wait: bool = False) -> None:
        connection, self._connection = self._connection, None
        self.epochs = [NO_EPOCH] * keys.SHARDS
        if connection is not None:
            await connection.disconnect(nowait=not wait)


async def _reply(connection: AbstractConnection) -> Any:  # noqa: ANN401 - any command's reply
    """Read one reply; a refusal is returned, and only a lost connection is raised."""
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
    except (ResponseError, BusyLoadingError) as error:
        return error


async def _facts(connection: AbstractConnection) -> Facts:
    info = await _ask(connection, "INFO", "server", "memory", "replication", "cluster")
    told = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    return Facts(
        server=f"{told.get('run_id', '')}:{told.get('master_replid', '')}",
        eviction=told.get("maxmemory_policy", ""),
        cluster=told.get("cluster_enabled") == "1",
    )


async def _ask(connection: AbstractConnection, *words: str) -> str:
    await connection.send_command(*words)
    reply = await connection.read_response()
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _hung_up(connection: AbstractConnection) -> bool:
    """Tell whether the server ended the connection, as far as this side has heard."""
    reader = connection._reader  # noqa: SLF001 - nothing public tells without waiting or writing
    return reader is None or reader.at_eof() or reader.exception() is not None


def _code(error: RedisError) -> str:
    """Return the word by which the server's refusal begins; redis-py cuts off those it knows."""
    return str(getattr(error, "status_code", None) or str(error).partition(" ")[0])


def _refusal(name: str, error: RedisError) -> Exception:
    code = _code(error)
    if code in _REFUSED:
        return NotSent(f"the counter store refuses writes: {code} {error}")
    return ScriptFailed(f"{name}: {error}")


def _fail(calls: deque[Call] | list[Call], error: Unavailable) -> None:
    for call in calls:
        if not call.reply.done():
            call.reply.set_exception(error)
    calls.clear()
