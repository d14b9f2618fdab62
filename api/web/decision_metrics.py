"""What was decided, how fast, and how often without the counters: for every door alike."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import Counter

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

GRANTED = "granted"


class DecisionMetrics:
    """The figures of one door. Codes come from the catalog and the code, never from a caller."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._outcomes: dict[str, Counter] = {}
        self._degraded = _degraded.labels(door)
        self._seconds = _seconds.labels(door)

    def count(self, outcome: str, since: float, *, degraded: bool = False) -> None:
        """Note one answer; ``since`` is what ``perf_counter`` said when the request came."""
        known = self._outcomes.get(outcome)
        if known is None:
            known = self._outcomes[outcome] = _decisions.labels(self._door, outcome)
        known.inc()
        self._seconds.observe(perf_counter() - since)
        if degraded:
            self._degraded.inc()
