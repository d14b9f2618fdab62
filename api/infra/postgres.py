"""The door to PostgreSQL: the only module that knows asyncpg.

Failure policy: a lost connection, a server that stops, starts or is full, a timeout, and a
transaction that PostgreSQL gave up (deadlock, serialization, lock timeout) leave here as
``Unavailable``, which is worth a retry. A broken constraint leaves as itself, to be mapped by its
name. Text that PostgreSQL cannot hold is ``InvalidInput``. Anything else is a bug.

Nothing may rely on session state: connections go back to the pool as they are, and
``DATABASE_URL`` may lead through PgBouncer in transaction mode. Settings and locks are for one
transaction (``set local``, ``pg_advisory_xact_lock``) or on a direct connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal, Self, TypeAlias

import asyncpg
import orjson
from asyncpg import CheckViolationError as CheckViolation
from asyncpg import ExclusionViolationError as ExclusionViolation
from asyncpg import ForeignKeyViolationError as ForeignKeyViolation
from asyncpg import IntegrityConstraintViolationError as IntegrityViolation
from asyncpg import NotNullViolationError as NotNullViolation
from asyncpg import UniqueViolationError as UniqueViolation
from asyncpg.pool import PoolConnectionProxy

from api.domain.errors import InvalidInput, Unavailable

__all__ = [
    "CheckViolation",
    "Connection",
    "Database",
    "ExclusionViolation",
    "ForeignKeyViolation",
    "IntegrityViolation",
    "Isolation",
    "NotNullViolation",
    "Record",
    "UniqueViolation",
    "connect",
    "constraint_name",
]

Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]

_PAUSE_SECONDS = (0.1, 5.0)  # between attempts to listen again

WAIT_SECONDS = 5.0
"""For a connection of the pool. Where PostgreSQL hangs each of them is kept for a whole command's
time; who waits longer than this is refused, or the queue would only grow."""

# What PostgreSQL or the way to it may do at any moment, without anybody's mistake.
_OPERATIONAL = (
    OSError,  # refused, reset, no such socket; TimeoutError is one too
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, starting up, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that became a standby
)


# What a session begins with. PgBouncer sees to the first two itself, whichever server it lends, and
# refuses a client that begins with any other.
_FOLLOWED = {"application_name": "headroom", "timezone": "UTC"}
# Compiling the plans of short statements costs more than running them.
_OWN = {"jit": "off"}

# Whatever a caller says may hold it, and no text of PostgreSQL can.
_UNSTORABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)


class Database:
    """A pool of connections, and single direct ones where a session must last."""

    def __init__(
        self, pool: "asyncpg.Pool[Record]", direct_dsn: str, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._pool = pool
        self._wait_seconds = wait_seconds
        self._direct_dsn = direct_dsn

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        direct_dsn: str | None = None,
        statement_cache: bool | None = None,
        timeout_seconds: float = 30.0,
    ) -> Self:
        """Open the pool; ``timeout_seconds`` bounds a connect, a command, a wait for a connection.

        The last of them waits ``WAIT_SECONDS`` at most.

        A ``direct_dsn`` says that ``dsn`` goes through a pooler in transaction mode: then, unless
        ``statement_cache`` says that the pooler follows them, no named statement is kept, as the
        next transaction may meet another server session.

        Raises: Unavailable.
        """
        pooled = direct_dsn is not None
        cached = not pooled if statement_cache is None else statement_cache
        with _door():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                init=_init,
                reset=_keep,
                timeout=timeout_seconds,
                command_timeout=timeout_seconds,
                statement_cache_size=1024 if cached else 0,
                server_settings=_FOLLOWED if pooled else _FOLLOWED | _OWN,
            )
        return cls(pool, direct_dsn or dsn, min(WAIT_SECONDS, timeout_seconds))

    async def close(self) -> None:
        """Let running work end for a moment, then close whatever is still open."""
        try:
            async with asyncio.timeout(10):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False
    ) -> AsyncGenerator[Connection]:
        """Run the block in one transaction: committed at its end, rolled back by any error.

        Raises: Unavailable, also when the commit's outcome is unknown; so whatever the block
        writes must be unique by an operation's id, and a retry harmless.
        """
        with _door():
            async with (
                self._pool.acquire(timeout=self._wait_seconds) as conn,
                conn.transaction(isolation=isolation, readonly=readonly),
            ):
                yield conn

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """Run one statement on its own and return its rows."""
        with _door():
            async with self._pool.acquire(timeout=self._wait_seconds) as conn:
                return await conn.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """Run one statement on its own and return its first row."""
        with _door():
            async with self._pool.acquire(timeout=self._wait_seconds) as conn:
                return await conn.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - a column's own type
        """Run one statement on its own and return the first column of its first row."""
        with _door():
            async with self._pool.acquire(timeout=self._wait_seconds) as conn:
                return await conn.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Run one statement on its own and return PostgreSQL's command tag."""
        with _door():
            async with self._pool.acquire(timeout=self._wait_seconds) as conn:
                return await conn.execute(sql, *args)

    @asynccontextmanager
    async def direct(self) -> AsyncGenerator["asyncpg.Connection[Record]"]:
        """Hold one connection of its own, past any pooler: for session locks and notifications."""
        async with connect(self._direct_dsn) as conn:
            yield conn

    @asynccontextmanager
    async def listen(
        self, channel: str, heard: Callable[[str | None], None]
    ) -> AsyncGenerator[None]:
        """Hand each payload notified on ``channel`` to ``heard``, for the length of the block.

        A notification is a hint: what was told while no connection stood is lost. So ``heard`` is
        called with None whenever a connection begins to listen, also the first time, and reads
        the tables then. A lost connection is made again, at growing intervals up to five seconds.

        Raises: Unavailable, where the first connection cannot be made.
        """
        began = asyncio.Event()
        listening = asyncio.create_task(self._keep_listening(channel, heard, began))
        beginning = asyncio.create_task(began.wait())
        try:
            await asyncio.wait({listening, beginning}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                await listening
            yield
        finally:
            beginning.cancel()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _keep_listening(
        self, channel: str, heard: Callable[[str | None], None], began: asyncio.Event
    ) -> None:
        pause_seconds = _PAUSE_SECONDS[0]
        while True:
            try:
                async with self.direct() as conn:
                    lost = asyncio.Event()
                    conn.add_termination_listener(lambda *_, lost=lost: lost.set())
                    await conn.add_listener(channel, lambda *told: heard(str(told[3])))
                    heard(None)
                    began.set()
                    pause_seconds = _PAUSE_SECONDS[0]
                    await lost.wait()
            except Unavailable:
                if not began.is_set():
                    raise
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _PAUSE_SECONDS[1])


@asynccontextmanager
async def connect(
    dsn: str, *, timeout_seconds: float = 30.0
) -> AsyncGenerator["asyncpg.Connection[Record]"]:
    """Open one connection outside any pool, and close it at the block's end.

    Raises: Unavailable.
    """
    with _door():
        conn = await asyncpg.connect(dsn, timeout=timeout_seconds, server_settings=_FOLLOWED | _OWN)
        try:
            await _init(conn)
            yield conn
        finally:
            await conn.close(timeout=10)


def constraint_name(violation: IntegrityViolation) -> str:
    """Return the name of the broken constraint, which says what it promised."""
    return violation.constraint_name or ""


@contextmanager
def _door() -> Generator[None]:
    try:
        yield
    except _OPERATIONAL as error:
        raise Unavailable("The record (PostgreSQL) did not answer; try again.") from error
    except _UNSTORABLE as error:
        raise InvalidInput("Text with the character U+0000 cannot be kept or found.") from error
    except asyncpg.InterfaceError as error:
        # asyncpg has no class of its own for a connection that went away under its user.
        if type(error) is asyncpg.InterfaceError and any(
            word in str(error) for word in ("closed", "closing", "released back")
        ):
            raise Unavailable("The connection to the record (PostgreSQL) was lost.") from error
        raise
    except asyncpg.InternalClientError as error:
        # A server that was killed said so, and its connection is not seen to be closed yet.
        if "cannot switch to state" in str(error):
            raise Unavailable("The connection to the record (PostgreSQL) was lost.") from error
        raise


async def _init(conn: "asyncpg.Connection[Record]") -> None:
    await conn.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_to_jsonb, decoder=_from_jsonb, format="binary"
    )


async def _keep(_conn: "asyncpg.Connection[Record]") -> None:
    # asyncpg would send "reset all" at each release: a round trip for session state nobody sets.
    return


def _to_jsonb(value: object) -> bytes:
    return b"\x01" + orjson.dumps(value)  # jsonb's binary form is a version byte, then the text


def _from_jsonb(value: bytes) -> object:
    return orjson.loads(value[1:])
