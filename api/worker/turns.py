"""Recurring tasks, each begun by one worker at a time, at its interval; see docs/adr/0012.

A task whose worker dies is begun again an interval later, so each is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.infra.clock import Clock
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("schedules")

Task = Callable[[datetime, int], Awaitable[int]]
"""Given the instant and the position of its last turn, returns the position for the next."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A recurring task and how often it is begun."""

    name: str
    every: timedelta
    task: Task


async def take_turns(database: Database, clock: Clock, turns: Sequence[Turn]) -> int:
    """Do every task that is due; return how many were.

    Raises: Unavailable. Cost: one small statement for each that is not due.
    """
    begun = 0
    for turn in turns:
        at = clock.now()
        position = await database.fetchval(_sql.begin_turn, turn.name, at, at - turn.every)
        if position is None:
            continue
        begun += 1
        following = await turn.task(at, position)
        if following != position:
            await database.execute(_sql.move_turn, turn.name, following)
    return begun
