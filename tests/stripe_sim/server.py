"""The HTTP server on loopback that the real package talks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

import orjson

from tests.stripe_sim.door import Answer, Cut, Door, Request

_REASONS = {200: "OK", 400: "Bad Request", 402: "Request Failed", 429: "Too Many Requests"}

Also = Callable[[Request], Awaitable[Answer | None]]
"""Answers requests that are not Stripe's, and none that are."""


class Server:
    """Serves connections; ``gate`` holds answers back after their work was done."""

    def __init__(self, door: Door, also: Also | None = None) -> None:
        self.door = door
        self._also = also
        self.address = ""
        self.gate: asyncio.Event | None = None
        """While set, an answer is decided at once and sent when the event happens."""
        self.arrived = asyncio.Event()
        """Set by each request."""
        self.watch: Callable[[Request], Awaitable[None]] | None = None
        """Awaited by each request before it is answered: a test looks at what stands open."""
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        self._open.add(writer)
        try:
            while True:
                request = await _read(reader)
                if self.watch is not None:
                    await self.watch(request)
                answer = await self._also(request) if self._also else None
                if answer is None:
                    answer = self.door.answer(request)
                self.arrived.set()
                if self.gate is not None:
                    await self.gate.wait()
                writer.write(_written(answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, Cut):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def close(self) -> None:
        """Close what is still open."""
        for writer in list(self._open):
            writer.close()


@asynccontextmanager
async def listening(door: Door, port: int = 0, also: Also | None = None) -> AsyncGenerator[Server]:
    """Serve on a port of this machine; 0 takes a free one."""
    served = Server(door, also)
    listener = await asyncio.start_server(served.serve, "127.0.0.1", port)
    served.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        listener.close()
        served.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, unquote(path), body.decode() or query, headers)


def _written(answer: Answer) -> bytes:
    body = orjson.dumps(answer.body)
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
