"""A way to Redis that can be cut at the worst moment."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit


class FlakyWay:
    """Forwards between a socket of its own and the server's.

    After ``lose_replies(n)`` the next ``n`` requests that contain ``word`` reach the server, and
    the connection is cut before their reply; after ``lose_requests(n)`` it is cut before them;
    ``down`` refuses everything.
    """

    def __init__(self, target: str, path: Path) -> None:
        self._target = target
        self.url = f"unix://{path}"
        self.down = False
        self._lose = 0
        self._word = b""
        self._reaching = True
        self._writers: set[asyncio.StreamWriter] = set()

    def lose_replies(self, count: int, word: bytes = b"EVALSHA") -> None:
        """Cut the connection before the reply of the next ``count`` requests with ``word``."""
        self._lose, self._word, self._reaching = count, word, True

    def lose_requests(self, count: int, word: bytes) -> None:
        """Cut the connection before the next ``count`` requests with ``word`` are handed on."""
        self._lose, self._word, self._reaching = count, word, False

    def lead_to(self, redis_url: str) -> None:
        """Lead new connections to another server; those that stand stay where they are."""
        self._target = urlsplit(redis_url).path

    def cut(self) -> None:
        """Refuse new connections and cut those that stand."""
        self.down = True
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until it ends."""
        if self.down:
            writer.transport.abort()
            return
        self._writers.add(writer)
        onward_reader, onward = await asyncio.open_unix_connection(self._target)
        losing = asyncio.Event()
        back = asyncio.create_task(self._back(onward_reader, writer, losing))
        try:
            while data := await reader.read(65_536):
                if self._lose and self._word in data:
                    self._lose -= 1
                    if not self._reaching:
                        break
                    losing.set()
                onward.write(data)
                await onward.drain()
        except ConnectionError:
            pass
        finally:
            onward.close()
            back.cancel()
            writer.transport.abort()
            self._writers.discard(writer)
            with suppress(asyncio.CancelledError):
                await back

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if losing.is_set():
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def flaky_way(redis_url: str) -> AsyncGenerator[FlakyWay]:
    """Open a flaky way to the server behind this unix socket URL; a cluster has many ways in."""
    assert redis_url.startswith("unix:"), "mark the test as one_server"
    folder = Path(mkdtemp(prefix="flaky-"))
    way = FlakyWay(urlsplit(redis_url).path, folder / "s")
    server = await asyncio.start_unix_server(way.serve, folder / "s")
    try:
        yield way
    finally:
        server.close()
        way.cut()
        await server.wait_closed()
        (folder / "s").unlink(missing_ok=True)
        folder.rmdir()
