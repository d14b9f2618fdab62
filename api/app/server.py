"""uvicorn around the application: one socket, no access log, a stop that no request notices.

A process that leaves stops accepting, and answers on: what is under way, and what still comes on
connections that are open. Each of those answers is the last of its connection and says so, and a
client opens its next one to whoever listens now. A connection on which nothing comes is closed by
its own time, as it is on any other day; so leaving adds no race to those that HTTP has.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app.direct import protocol_of
from api.infra.clock import Clock
from api.infra.lifetime import asked_to_stop, first_of, tell_ready, told_by
from api.infra.settings import Settings
from api.infra.telemetry import gauge
from api.web import decision_metrics
from api.wiring.serving import serving

_POLL_SECONDS = 0.05
_YOUNG_OBJECTS = 10_000
"""The collector looks once so many more are there; a full look takes under a millisecond."""
_LAST = (b"connection", b"close")

_FROZEN = gauge(
    "gc_frozen_objects", "Objects of a serving process that the garbage collector leaves alone"
)


class _Server(uvicorn.Server):
    """A server that says when it answers, leaves in peace, and leaves signals to its caller."""

    def __init__(self, config: uvicorn.Config, ready: int | None, settings: Settings) -> None:
        super().__init__(config)
        self._ready = ready
        self._drain_seconds = settings.drain_seconds
        # Past its own time no idle connection is left to wait for.
        self._linger_seconds = min(settings.keep_alive_seconds, settings.drain_seconds)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # All that is built by now stays: a collector that walks it again and again costs latency.
        gc.collect()
        gc.freeze()
        # Requests leave no cycles: what is young is nearly always under way, and not garbage.
        gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
        _FROZEN.set(gc.get_freeze_count())
        tell_ready(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no connection more, let those there are end, and cut off what takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_seconds
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        state = self.server_state
        # A list of its own: requests that were read before keep the one they began with, so that
        # of several that came at once on one connection only the newest is answered as the last.
        state.default_headers = [*state.default_headers, _LAST]
        for connection in list(state.connections):
            if not isinstance(connection, HttpToolsProtocol):
                connection.shutdown()  # a WebSocket is told to come again
            elif connection.cycle is not None:
                connection.cycle.keep_alive = False
        # Looks are counted, not seconds: where this process, or the whole machine, stood still,
        # what was sent meanwhile is read before its connection is closed. The first pause is in any
        # case: what was just accepted is among them a moment later.
        for _ in range(max(1, round(self._linger_seconds / _POLL_SECONDS))):
            await asyncio.sleep(_POLL_SECONDS)
            if not state.connections:
                break
        # A timeout of 0 would wait for ever.
        self.config.timeout_graceful_shutdown = max(1, round(deadline - loop.time()))
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings, clock: Clock, sock: socket.socket, ready: int | None, parent: int | None
) -> None:
    """Answer on ``sock`` until told to stop; then let requests end, and stop.

    SIGTERM and SIGINT end the whole server: ``/readyz`` says so at once, and new connections are
    taken for a while, so that whoever sends them learns it first. SIGHUP says that another process
    answers on the same socket already, and nobody need know.
    """
    with (
        asked_to_stop(insisting=parent is None) as stop,
        told_by(signal.SIGHUP) as replaced,
    ):
        async with serving(settings, clock) as application:
            config = uvicorn.Config(
                application,
                interface="asgi3",
                loop="none",
                http=protocol_of(application.direct),
                ws="websockets-sansio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Forwarded headers are an outsider's word; the socket's address is a fact.
                proxy_headers=False,
                timeout_keep_alive=settings.keep_alive_seconds,
            )
            server = _Server(config, ready, settings)
            running = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
            leaving = asyncio.create_task(first_of(stop, replaced))
            await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                application.leave()
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(running), settings.unready_seconds)
            server.should_exit = True
            leaving.cancel()
            await running
            # What was answered since the figures were last told.
            decision_metrics.tell_all()
