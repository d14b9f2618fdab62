"""How many steps of Python's interpreter one request takes, whatever else the machine does.

CPU on shared cores is a noisy figure; this one is exact, and says where to look: a request that
takes a tenth fewer steps costs about a tenth less of what is Python's. It says nothing of the
kernel, of C, or of the stores. The application runs in this process on engines of its own, and is
asked over uvicorn's protocol without a socket.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import uvicorn
from uvicorn.server import ServerState

from api.app.direct import protocol_of
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.settings import Settings
from api.web.routes import Application
from api.wiring.serving import serving
from bench.rivals import NAMES, Rival, Unexpected, own_rivals
from bench.setting import prepare, shop

CUSTOMERS = 10
REPEATS = 9
"""The least of so many is told: what runs beside a request now and then is not of it."""
_HERE = str(Path(__file__).parents[1])
_COMPILED = ("<compiled operation>", "<input ")


class _Wire(asyncio.Transport):
    """A transport that tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.answered = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said = bytes(data)
        self.answered.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.answered.set()


async def run(tell: Callable[[str], None], customers: int = CUSTOMERS) -> dict[str, int]:
    """Count, print, and return the steps of each kind of request, of an item for batches."""
    async with ThrowawayEngines.start() as engines:
        stores = (engines.database_url, engines.redis_url)
        key = await prepare(*stores, customers=customers, catalog=shop())
        environment = {"DATABASE_URL": stores[0], "REDIS_URL": stores[1]}
        settings = Settings.from_environment(environment | {"HEADROOM_ENV": "production"})
        async with serving(settings, SystemClock()) as application:
            rivals = own_rivals("http://bench", 0, (f"Authorization: Bearer {key}",), customers)
            counted = {rival.name: await _steps(application, rival) for rival in rivals}
    rooms = sorted({room for steps in counted.values() for room in steps})
    tell(f"{'':22}{'steps':>8}" + "".join(f"{room:>10}" for room in rooms))
    for name, steps in counted.items():
        each = "".join(f"{steps[room]:10}" for room in rooms)
        tell(f"{NAMES[name]:22}{steps.total():8}{each}")
    return {name: steps.total() for name, steps in counted.items()}


async def _steps(application: Application, rival: Rival) -> Counter[str]:
    """Return the steps of one request by the room they are taken in."""
    config = uvicorn.Config(
        application,
        interface="asgi3",
        http=protocol_of(application.direct),
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Sat, 21 Nov 2026 17:00:00 GMT")]
    protocol: Any = config.http_protocol_class(config, state, {})  # type: ignore[call-arg] # uvicorn's own call
    wire = _Wire()
    protocol.connection_made(wire)
    least: Counter[str] | None = None
    # The first ones compile, fill what is unknown, and use up what is scarce.
    for number in range(REPEATS + 4):
        request = _request(rival)
        wire.answered.clear()
        steps = _Steps()
        sys.settrace(steps.trace)
        try:
            protocol.data_received(request)
            async with asyncio.timeout(30):
                await wire.answered.wait()
        finally:
            sys.settrace(None)
        taken = Counter({room: count // rival.ask.items for room, count in steps.taken.items()})
        if number >= 4 and (least is None or taken.total() < least.total()):
            least = taken
    protocol.connection_lost(None)
    text = wire.said.decode()
    if least is None or text.count(rival.says) != (rival.said or rival.ask.items):
        raise Unexpected(f"{NAMES[rival.name]}: {text[:500]}")
    return least


class _Steps:
    """Counts the steps of our own code and of uvicorn's, by room."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def trace(self, frame: FrameType, event: str, _arg: object) -> Callable[..., Any] | None:
        """Take one event of the interpreter."""
        room = _room(frame.f_code.co_filename)
        if room is None:
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.taken[room] += 1
        return self.trace


def _room(file: str) -> str | None:
    if file.startswith(_COMPILED):
        return "compiled"
    if file.startswith(f"{_HERE}/api/"):
        return file[len(_HERE) + 5 :].partition("/")[0]
    return "uvicorn" if "/uvicorn/" in file else None


def _request(rival: Rival) -> bytes:
    ask = rival.ask
    body = ask.template.replace("%d", "7").replace("%k", uuid4().hex).encode()
    lines = ["Host: bench", "Content-Type: application/json", *ask.headers]
    head = "".join(f"{line}\r\n" for line in (*lines, f"Content-Length: {len(body)}"))
    return f"POST {urlsplit(ask.url).path} HTTP/1.1\r\n{head}\r\n".encode() + body
