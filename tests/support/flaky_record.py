"""A way to PostgreSQL that fails at a chosen statement: before it, after it, or while all wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

_SOCKET = ".s.PGSQL.5432"
_READY = b"Z"


class FlakyRecord:
    """Forwards between a socket of its own and the server's, and knows the statements.

    ``refuse`` cuts the connection before a statement reaches the server; ``lose`` lets the server
    carry it out, and cuts before the reply; ``pause`` holds it back until it may go on.
    """

    def __init__(self, target: Path, url: str) -> None:
        self._target = target
        self.url = url
        self._word = b""
        self._refusals = 0
        self._losses = 0
        self._gate: asyncio.Event | None = None
        self._reached = asyncio.Event()
        self.failed = 0

    def refuse(self, word: str, count: int = 1) -> None:
        """Cut the connection in place of the next ``count`` statements with ``word``."""
        self._word, self._refusals = word.encode(), count

    def lose(self, word: str, count: int = 1) -> None:
        """Cut the connection after the next ``count`` statements with ``word`` were carried out."""
        self._word, self._losses = word.encode(), count

    def forgive(self) -> None:
        """Let everything through."""
        self._refusals = self._losses = 0

    @asynccontextmanager
    async def pause(self, word: str) -> AsyncGenerator[asyncio.Event]:
        """Hold statements with ``word`` back to the end of the block; set once one has come."""
        self._word, self._gate, self._reached = word.encode(), asyncio.Event(), asyncio.Event()
        try:
            yield self._reached
        finally:
            self._gate.set()
            self._gate = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until it ends."""
        onward_reader, onward = await asyncio.open_unix_connection(str(self._target))
        losing = asyncio.Event()
        back = asyncio.create_task(self._back(onward_reader, writer, losing))
        statements: dict[bytes, bytes] = {}
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            onward.write(await _untyped(reader))
            while True:
                kind, body = await _message(reader)
                said = _text(kind, body, statements)
                if self._word and self._word in said:
                    if self._gate is not None:
                        self._reached.set()
                        await self._gate.wait()
                    elif self._refusals:
                        self._refusals -= 1
                        self.failed += 1
                        break
                    elif self._losses:
                        self._losses -= 1
                        self.failed += 1
                        losing.set()
                onward.write(kind + (len(body) + 4).to_bytes(4, "big") + body)
        if not losing.is_set():
            back.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await back
        onward.close()
        writer.transport.abort()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                kind, body = await _message(reader)
                if losing.is_set():
                    if kind == _READY:
                        break  # carried out, and committed where it stood alone
                    continue
                writer.write(kind + (len(body) + 4).to_bytes(4, "big") + body)
        writer.transport.abort()


async def _untyped(reader: asyncio.StreamReader) -> bytes:
    """Read the message that begins a connection; it has no kind."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big") - 4)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


def _text(kind: bytes, body: bytes, statements: dict[bytes, bytes]) -> bytes:
    """Return the statement that this message has carried out, empty if it has none."""
    if kind == b"Q":
        return body
    if kind == b"P":
        name, sql, _ = body.split(b"\0", 2)
        statements[name] = sql
    elif kind == b"B":
        _, name, _ = body.split(b"\0", 2)
        return statements.get(name, b"")
    return b""


@asynccontextmanager
async def flaky_record(database_url: str) -> AsyncGenerator[FlakyRecord]:
    """Open a flaky way to the database behind this URL of a unix socket."""
    folder = Path(mkdtemp(prefix="flaky-"))
    parts = urlsplit(database_url)
    target = Path(unquote(parse_qs(parts.query)["host"][0])) / _SOCKET
    way = FlakyRecord(target, urlunsplit(parts._replace(query=f"host={folder}")))
    server = await asyncio.start_unix_server(way.serve, folder / _SOCKET)
    try:
        yield way
    finally:
        server.close()
        await server.wait_closed()
        (folder / _SOCKET).unlink(missing_ok=True)
        folder.rmdir()
