"""How servers of the counter store are reached: the only module that knows the redis package.

Its handshake, TLS and authentication are what we use of it: connections are opened here, and what
travels over them is ``link.py``'s. Failure policy: whatever the package raises is ``NotSent`` or,
where something was sent, ``OutcomeUnknown``; it repeats nothing by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.domain.errors import Unavailable
from api.infra.calls import NotSent, OutcomeUnknown
from api.infra.cluster import Address, View, view_of
from api.infra.few_lines import FewLines
from api.infra.forms import Arg
from api.infra.server_facts import Facts, facts_of

log = logging.getLogger(__name__)
_failures = FewLines()

TIMEOUT_SECONDS = 5.0
OUT_OF_REACH = "the counter store cannot be reached"


class Opened(NamedTuple):
    """A connection, what its server says of itself, and its two streams."""

    connection: AbstractConnection
    facts: Facts
    writer: asyncio.StreamWriter


class Way:
    """The way to one server, as the URL says of user, password and TLS; ``to`` leads to others."""

    def __init__(self, pool: ConnectionPool, address: Address) -> None:
        self._pool = pool
        self.address = address

    @classmethod
    def of(cls, url: str) -> Way:
        """Read the URL; nothing is connected."""
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        told = pool.connection_kwargs
        return cls(pool, (told.get("host", "127.0.0.1"), int(told.get("port", 6379))))

    def to(self, address: Address) -> Way:
        """Return the way to another server of the same cluster."""
        told = {k: v for k, v in self._pool.connection_kwargs.items() if k not in {"path", "db"}}
        kind = self._pool.connection_class
        if issubclass(kind, UnixDomainSocketConnection):
            kind = Connection
        told |= {"host": address[0], "port": address[1]}
        return Way(ConnectionPool(connection_class=kind, **told), address)

    async def close(self) -> None:
        """Close what is kept for blocking commands."""
        await self._pool.aclose()

    async def open(self) -> Opened:
        """Connect, and hear who is there. Raises: NotSent."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
            facts = facts_of(await _ask(connection, "INFO"))
            return Opened(connection, facts, _writer(connection))
        except (RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise self._out_of_reach(error) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def look(self) -> View | None:
        """Return how the server sees its cluster, None where it belongs to none. Raises: NotSent.

        Cost: a connection of its own, as the one for calls may be what hangs.
        """
        connection = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection, facts, _ = await self.open()
                if not facts.cluster:
                    return None
                info = await _ask(connection, "CLUSTER", "INFO")
                slots = await _ask(connection, "CLUSTER", "SLOTS")
                return view_of(self.address, info, slots)
        except (RedisError, OSError) as error:
            raise self._out_of_reach(error) from error
        finally:
            if connection is not None:
                await connection.disconnect(nowait=True)

    async def blocking(self, parts: Sequence[Arg], timeout_seconds: float) -> Any:  # noqa: ANN401 - any command's reply
        """Run one command that waits at the server, on a connection of its own."""
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis has no types here
        except (RedisError, OSError) as error:
            raise self._out_of_reach(error) from error
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

    def _out_of_reach(self, error: Exception) -> NotSent:
        """Say where to, and why not, in the log: whoever calls our API is told neither."""
        untold = _failures.untold()
        if untold is not None:
            without = {"failures_without_a_line": untold} if untold else {}
            log.warning("no way to the counters: %s", error, extra=without)
        return NotSent(OUT_OF_REACH)


def told(error: OSError | Unavailable) -> str:
    """Say why nothing could be sent; an error of the system names addresses, and is not told."""
    text = "" if isinstance(error, OSError) else str(error)
    return text if text.startswith(OUT_OF_REACH) else f"{OUT_OF_REACH}: {text}".removesuffix(": ")


async def _ask(connection: AbstractConnection, *words: str) -> Any:  # noqa: ANN401 - any command's reply
    await connection.send_command(*words)
    return await connection.read_response(disable_decoding=True)


def _writer(connection: AbstractConnection) -> asyncio.StreamWriter:
    writer = connection._writer  # noqa: SLF001 - nothing public hands over what it opened
    reader = connection._reader  # noqa: SLF001 - likewise
    if writer is None or reader is None or reader.at_eof() or writer.transport.is_closing():
        raise ConnectionResetError("it hung up")
    return writer
