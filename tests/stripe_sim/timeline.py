"""Stripe's time: it stands where the test's clock stands, and does what fell due in between."""

from __future__ import annotations

import calendar
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

Due = Callable[[], None]

DAY = 86_400


class Clock(Protocol):
    """The test's clock."""

    def now(self) -> datetime: ...


class Timeline:
    """Seconds since the epoch, and what falls due when.

    ``now`` is behind the clock only while things that fell due in between are done, each at its
    own instant.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = int(clock.now().timestamp())
        self._due: list[tuple[int, int, Due]] = []
        self._numbers = count()

    def at(self, when: int, do: Due) -> None:
        """Do something once that instant has come."""
        heapq.heappush(self._due, (when, next(self._numbers), do))

    @property
    def next_due(self) -> datetime | None:
        """The instant at which something falls due next."""
        return datetime.fromtimestamp(self._due[0][0], UTC) if self._due else None

    def catch_up(self) -> None:
        """Do all that fell due, in order, up to the clock's instant."""
        until = int(self.clock.now().timestamp())
        while self._due and self._due[0][0] <= until:
            when, _, do = heapq.heappop(self._due)
            self.now = max(self.now, when)
            do()
        self.now = max(self.now, until)


def later(anchor: int, interval: str, count_: int, times: int) -> int:
    """Return the instant ``times`` intervals after an anchor; a month keeps the anchor's day.

    Where a month is too short the last day stands in, and the next long month has the day again.
    """
    steps = count_ * times
    begin = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return anchor + steps * DAY * (7 if interval == "week" else 1)
    months = begin.year * 12 + begin.month - 1 + steps * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(begin.day, calendar.monthrange(year, month + 1)[1])
    return int(begin.replace(year=year, month=month + 1, day=day).timestamp())


def next_edge(anchor: int, interval: str, count_: int, after: int) -> int:
    """Return the first end of a period, counted from the anchor, that lies after an instant."""
    spans = {"day": 1, "week": 7, "month": 31, "year": 366}
    times = max(0, (after - anchor) // (DAY * spans[interval] * count_) - 1)
    while (edge := later(anchor, interval, count_, times)) <= after:
        times += 1
    return edge


def of(when: datetime | timedelta | int, now: int) -> int:
    """Return an instant in seconds; a duration counts from now."""
    if isinstance(when, timedelta):
        return now + int(when.total_seconds())
    return when if isinstance(when, int) else int(when.timestamp())
