"""uvicorn around the application: one socket, no access log, a stop that lets requests end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.infra.clock import Clock
from api.infra.lifetime import asked_to_stop, tell_ready
from api.infra.settings import Settings
from api.wiring.serving import serving

LONGEST_DRAIN_SECONDS = 10
"""How long requests under way may take to end once the process was told to stop."""


class _Server(uvicorn.Server):
    """A server that says when it answers, and leaves signals to its caller."""

    def __init__(self, config: uvicorn.Config, ready: int | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        tell_ready(self._ready)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, clock: Clock, sock: socket.socket, ready: int | None) -> None:
    """Answer on ``sock`` until SIGTERM or SIGINT; then let requests end, and stop."""
    with asked_to_stop() as asked:
        async with serving(settings, clock) as application:
            config = uvicorn.Config(
                application,
                loop="none",
                http="httptools",
                ws="websockets-sansio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Forwarded headers are an outsider's word; the socket's address is a fact.
                proxy_headers=False,
                timeout_graceful_shutdown=LONGEST_DRAIN_SECONDS,
            )
            server = _Server(config, ready)
            running = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
            stopping = asyncio.create_task(asked.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            stopping.cancel()
            await running
