"""What was decided, how fast, and how often without the counters: for every door alike.

A decision is put into lists here; twice a second these are added to the metrics at once. A
metric that is told of each decision would cost a tenth of it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
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
        self._outcomes: list[str] = []
        self._took: list[float] = []
        self._degraded = 0
        _doors.append(self)

    def count(self, outcome: str, since: float, *, degraded: bool = False) -> None:
        """Note one answer; ``since`` is what ``perf_counter`` said when the request came."""
        outcomes = self._outcomes
        if not outcomes:
            asyncio.get_running_loop().call_later(_TOLD_SECONDS, self.tell)
        outcomes.append(outcome)
        self._took.append(perf_counter() - since)
        if degraded:
            self._degraded += 1

    def count_all(self, decided: Sequence[tuple[str, bool]], since: float) -> None:
        """Note all that one request was answered: each outcome, and whether it was degraded."""
        (outcome, degraded), *more = decided
        self.count(outcome, since, degraded=degraded)
        if more:
            self._outcomes += [outcome for outcome, _ in more]
            self._took += [self._took[-1]] * len(more)
            self._degraded += sum([degraded for _, degraded in more])

    def tell(self) -> None:
        """Add what was noted to the metrics."""
        outcomes, self._outcomes = self._outcomes, []
        took, self._took = self._took, []
        for outcome, times in Counter(outcomes).items():
            _decisions.labels(self._door, outcome).inc(times)
        took.sort()
        upto = [0, *(bisect_right(took, bound) for bound in _BOUNDS), len(took)]
        telemetry.observe_many(self._seconds, [b - a for a, b in pairwise(upto)], sum(took))
        self._degraded_answers.inc(self._degraded)
        self._degraded = 0


_doors: list[DecisionMetrics] = []


def tell_all() -> None:
    """Add to the metrics whatever any door has noted: before they are shown."""
    for door in _doors:
        door.tell()
