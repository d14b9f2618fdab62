"""Is it alive, can it serve, and what does it count: for probes and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.domain.errors import HeadroomError
from api.infra import telemetry
from api.infra.clock import Clock
from api.web import decision_metrics
from api.web.access_log import PROBE
from api.web.parts import Readiness

PATIENCE_SECONDS = 2.0
FRESH = timedelta(seconds=1)
"""Anybody may ask; the engines are asked once in this time, whoever asks."""

_READY = 200
_NOT_READY = 503


class Health:
    """Answers probes; the parts are asked together, each for a bounded time."""

    def __init__(self, clock: Clock, checks: Mapping[str, Readiness]) -> None:
        self._clock = clock
        self._checks = checks
        self._asking: asyncio.Task[dict[str, str | None]] | None = None
        self._found: tuple[datetime, dict[str, str | None]] | None = None

    def routes(self) -> list[Route]:
        """Return the routes of probes and metrics."""
        return [
            Route("/healthz", self.live, methods=["GET"]),
            Route(PROBE, self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def live(self, _: Request) -> Response:
        """Say that this process answers at all; no engine is asked."""
        return _json(_READY, {"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Say whether every part can serve, and of each that cannot, why."""
        found = await self._parts()
        told = {name: "ok" if problem is None else problem for name, problem in found.items()}
        ready = all(problem is None for problem in found.values())
        status = _READY if ready else _NOT_READY
        return _json(status, {"status": "ready" if ready else "not ready", "parts": told})

    @staticmethod
    async def leaving(_: Request) -> Response:
        """Say that this process was told to stop, whatever the parts say."""
        told = {"process": "This server was told to stop."}
        return _json(_NOT_READY, {"status": "not ready", "parts": told})

    async def metrics(self, _: Request) -> Response:
        """Return every figure in Prometheus' text format."""
        decision_metrics.tell_all()
        return Response(telemetry.exposition(), headers={"Content-Type": telemetry.CONTENT_TYPE})

    async def _parts(self) -> dict[str, str | None]:
        now = self._clock.now()
        if self._found is not None and timedelta() <= now - self._found[0] < FRESH:
            return self._found[1]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(now))
        return await asyncio.shield(self._asking)

    async def _ask(self, now: datetime) -> dict[str, str | None]:
        try:
            answers = await asyncio.gather(
                *(_asked(name, check, now) for name, check in self._checks.items())
            )
            found = dict(zip(self._checks, answers, strict=True))
            self._found = (now, found)
            return found
        finally:
            self._asking = None


async def _asked(name: str, check: Readiness, now: datetime) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await check(now)
    except TimeoutError:
        return f"{name} did not answer within {PATIENCE_SECONDS:g} seconds"
    except HeadroomError as error:
        return error.message


def _json(status: int, said: object) -> Response:
    return Response(orjson.dumps(said), status, media_type="application/json")
