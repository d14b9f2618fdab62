"""A connection to a server with one door, over uvicorn's protocol or ours, without a socket."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from api.app.direct import Finding, protocol_of
from api.infra.taskless import in_task
from api.web.wire import Form, Told, answer, read_body

DATE = (b"date", b"Sat, 21 Nov 2026 17:00:00 GMT")
CLOSE = (b"connection", b"close")
PATH = b"/v1/check"
POST = (
    b"POST /v1/check HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer a\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
OK: Told = (Form(200, []), [], b"hello")


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    @property
    def text(self) -> bytes:
        return b"".join(self.writes)


class Door:
    """Answers what it is told to, and notes how it was asked."""

    most_bytes = 20
    longest = 1000
    """Bytes of a body that comes by messages."""
    taskless = True

    def __init__(self, told: Told | Exception = OK, *, wait: asyncio.Event | None = None) -> None:
        self.told = told
        self.wait = wait
        self.whole: list[bytes] = []
        """Bodies that came without messages."""
        self.asked: list[tuple[object, ...]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = await self.answer(scope, receive)
        if said is not None:
            await answer(send, said)

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        if isinstance(source, bytes):
            self.whole.append(source)
            body = source
        else:
            body = await read_body(source, 0, self.longest)
        headers = tuple(scope["headers"])
        self.asked.append((scope["method"], scope["path"], scope["query_string"], headers, body))
        if self.wait is not None:
            await in_task()
            await self.wait.wait()
        if isinstance(self.told, Exception):
            raise self.told
        form, lines, said = self.told
        return form, list(lines), said


@dataclass
class Said:
    """What a client was told, and what uvicorn knows of it afterwards."""

    text: bytes
    closed: bool
    answers: int
    complete: bool
    asked: list[tuple[object, ...]]
    writes: int = field(compare=False)
    whole: list[bytes] = field(compare=False)


def connected(
    door: Door,
    *,
    direct: bool,
    defaults: Iterable[tuple[bytes, bytes]] = (),
    find: Finding | None = None,
) -> tuple[HttpToolsProtocol, Wire]:
    """Return a connection to a server with that door, and what carries it."""
    kind = protocol_of(find or {PATH: door}.get) if direct else HttpToolsProtocol
    config = uvicorn.Config(
        door, interface="asgi3", http=kind, lifespan="off", log_config=None, access_log=False
    )
    config.proxy_headers = False
    state = ServerState()
    state.default_headers = [DATE, *defaults]
    wire = Wire()
    protocol = kind(config, state, {})
    protocol.connection_made(wire)
    return protocol, wire


async def receive(protocol: HttpToolsProtocol, *parts: bytes) -> None:
    """Let parts arrive as they do, in callbacks of the event loop: nobody's task."""
    for part in parts:
        if not protocol.transport.is_closing():
            asyncio.get_running_loop().call_soon(protocol.data_received, part)
            await asyncio.sleep(0)


async def ended(protocol: HttpToolsProtocol) -> None:
    """Wait for all that runs."""
    async with asyncio.timeout(5):
        while protocol.tasks or getattr(protocol.cycle, "running", False):
            await asyncio.gather(*protocol.tasks)
            await asyncio.sleep(0)


async def said(
    door: Door,
    *parts: bytes,
    direct: bool,
    defaults: Iterable[tuple[bytes, bytes]] = (),
    meanwhile: Callable[[HttpToolsProtocol], None] = lambda _: None,
) -> Said:
    """Return the answers to what one client sends."""
    protocol, wire = connected(door, direct=direct, defaults=defaults)
    await receive(protocol, *parts)
    meanwhile(protocol)
    await ended(protocol)
    complete = protocol.cycle.response_complete
    answers, closed = protocol.server_state.total_requests, wire.closed
    protocol.connection_lost(None)
    return Said(wire.text, closed, answers, complete, door.asked, len(wire.writes), door.whole)


async def both(make: Callable[[], Door], *parts: bytes, **more: Any) -> Said:
    """Have it said both ways; return what the shorter one came to, where they agree."""
    theirs = await said(make(), *parts, direct=False, **more)
    ours = await said(make(), *parts, direct=True, **more)
    assert ours == theirs
    return ours


class Waits(Door):
    """Waits for a future, as a door waits for the counters."""

    def __init__(self) -> None:
        super().__init__()
        self.reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        await self.reply
        return await super().answer(scope, source)


class SecondWaits(Waits):
    """Answers the first request at once."""

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        if self.whole:
            return await super().answer(scope, source)
        return await Door.answer(self, scope, source)
