"""What was decided, how fast, and how often without the counters: for every door alike.

A decision adds to plain numbers here; twice a second these are added to the metrics at once. A
metric that is told of each decision would cost a tenth of it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import perf_counter

from api.infra import telemetry

_decisions = telemetry.counter(
    "decisions",
    "Questions answered, by door and outcome: 'granted', or the code of the denial or error.",
    ("door", "outcome"),
)
_degraded = telemetry.counter(
    "decisions_degraded", "Answers given by an outage policy, without the counters.", ("door",)
)
_seconds = telemetry.histogram(
    "decision_seconds", "From the request's head to its answer, by door.", ("door",)
)
_BOUNDS = telemetry.BUCKETS_SECONDS
_TOLD_SECONDS = 0.5

GRANTED = "granted"


class DecisionMetrics:
    """The figures of one door. Codes come from the catalog and the code, never from a caller."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._degraded_answers = _degraded.labels(door)
        self._seconds = _seconds.labels(door)
        self._outcomes: dict[str, int] = {}
        self._degraded = 0
        self._took = 0.0
        self._buckets = [0] * (len(_BOUNDS) + 1)
        _doors.append(self)

    def count(self, outcome: str, since: float, *, degraded: bool = False) -> None:
        """Note one answer; ``since`` is what ``perf_counter`` said when the request came."""
        outcomes = self._outcomes
        if not outcomes:
            asyncio.get_running_loop().call_later(_TOLD_SECONDS, self.tell)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        took = perf_counter() - since
        self._took += took
        self._buckets[bisect_left(_BOUNDS, took)] += 1
        if degraded:
            self._degraded += 1

    def tell(self) -> None:
        """Add what was noted to the metrics."""
        outcomes, self._outcomes = self._outcomes, {}
        for outcome, times in outcomes.items():
            _decisions.labels(self._door, outcome).inc(times)
        telemetry.observe_many(self._seconds, self._buckets, self._took)
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._took = 0.0
        self._degraded_answers.inc(self._degraded)
        self._degraded = 0


_doors: list[DecisionMetrics] = []


def tell_all() -> None:
    """Add to the metrics whatever any door has noted: before they are shown."""
    for door in _doors:
        door.tell()
