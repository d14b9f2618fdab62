"""Recurring tasks, each begun by one worker at a time, at its interval; see docs/adr/0012.

A task that did not end, because its worker died or because it says so, is begun again some minutes
after it was last seen at work, so each is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.domain.errors import Unavailable
from api.infra.clock import Clock
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("schedules")
log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(minutes=10)
"""How long after it was last seen at work a task that did not end is begun again."""

BEAT_SECONDS = 60.0

Task = Callable[[datetime, int], Awaitable[int | None]]
"""Given the instant and the position of its last turn, returns the position for the next; None
where it could not be done, and is to be tried again soon."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A recurring task and how often it is begun."""

    name: str
    every: timedelta
    task: Task


async def take_turns(
    database: Database,
    clock: Clock,
    turns: Sequence[Turn],
    *,
    beat_seconds: float = BEAT_SECONDS,
) -> int:
    """Do every task that is due; return how many were.

    Raises: Unavailable. Cost: one small statement for each that is not due, two for one that is.
    """
    begun = 0
    for turn in turns:
        at = clock.now()
        position = await database.fetchval(
            _sql.begin_turn, turn.name, at, at - turn.every, at - AGAIN_AFTER
        )
        if position is None:
            continue
        begun += 1
        async with _seen_at_work(database, clock, turn.name, at, beat_seconds):
            following = await turn.task(at, position)
        if following is not None:
            await database.execute(_sql.end_turn, turn.name, at, following)
    return begun


@asynccontextmanager
async def _seen_at_work(
    database: Database, clock: Clock, name: str, at: datetime, beat_seconds: float
) -> AsyncGenerator[None]:
    """Say now and then that a turn is still at work, so that nobody else begins it."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(beat_seconds)
            try:
                await database.execute(_sql.alive, name, at, clock.now())
            except Unavailable as error:
                log.warning("a turn could not say that it is at work: %s", error)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
