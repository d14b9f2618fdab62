"""Loops that go on for as long as the process: an outage slows one down and never ends it.

An engine that does not answer is waited for, ever longer up to some seconds. Any other error is a
bug: it ends the process with its traceback, and whoever supervises it starts another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from api.domain.errors import Unavailable
from api.infra.telemetry import correlated, counter

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

Step = Callable[[], Awaitable[int]]
"""Does what there is to do now, some of it; returns how much, 0 when there was nothing."""

_FAILED = counter("worker_interruptions", "Times a loop met an engine out of reach", ["loop"])
_DONE = counter("worker_done", "Pieces of work that a loop has done", ["loop"])


async def keep(
    name: str, step: Step, *, idle_seconds: float, woken: asyncio.Event | None = None
) -> None:
    """Repeat ``step`` for ever: at once while it finds work, else after ``idle_seconds``.

    ``woken`` ends an idle wait early.
    """
    failed, done = _FAILED.labels(name), _DONE.labels(name)
    told = asyncio.Event() if woken is None else woken
    pause = 0.0
    while True:
        told.clear()
        try:
            with correlated():
                found = await step()
        except Unavailable as error:
            failed.inc()
            if not pause:
                log.warning("%s waits: %s", name, error)
            pause = min(max(pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            continue
        if pause:
            log.info("%s goes on", name)
        pause = 0.0
        if found:
            done.inc(found)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(idle_seconds):
                await told.wait()
