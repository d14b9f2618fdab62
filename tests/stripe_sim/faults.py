"""What goes wrong on the way to Stripe and back, as a test says."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.stripe_sim.errors import Refused
from tests.stripe_sim.timeline import Timeline

Json = dict[str, Any]


class Cut(Exception):
    """The connection is closed without an answer."""


@dataclass
class Fault:
    """One kind of failure, for the next requests that it is about."""

    status: int | None
    """The status answered; None closes the connection, which is a timeout of unknown outcome."""
    times: int
    path: str
    method: str | None
    after_effect: bool
    """Whether the request does its work before it fails."""
    retry_after: float | None = None

    def is_about(self, method: str, path: str) -> bool:
        """Tell whether a request meets this failure."""
        return (
            self.times > 0
            and self.method in (None, method)
            and re.search(self.path, path) is not None
        )


@dataclass
class Faults:
    """The failures to come, the outage, the cap on requests, and a count of what was asked."""

    time: Timeline
    outage: bool = False
    """While it is on, every request's connection is closed."""
    per_second: int | None = None
    """How many requests a second of the clock may bring."""
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each method and path was asked."""
    _faults: list[Fault] = field(default_factory=list)
    _lately: deque[float] = field(default_factory=deque)

    def fail_next(
        self,
        times: int = 1,
        *,
        status: int = 500,
        path: str = "",
        method: str | None = None,
        after_effect: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """Answer the next requests to paths that match with a status such as 429 or 500.

        Stripe limits requests before they do anything, and keeps no such answer under their key.
        """
        if status == 429 and after_effect:
            raise ValueError("a request that is refused for its rate has no effect")
        self._faults.append(Fault(status, times, path, method, after_effect, retry_after))

    def cut_next(
        self, times: int = 1, *, path: str = "", method: str | None = None, after_effect: bool
    ) -> None:
        """Close the connection of the next requests, before or after they did their work."""
        self._faults.append(Fault(None, times, path, method, after_effect))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()
        self.outage, self.per_second = False, None

    def asked(self, path: str = "", method: str | None = None) -> int:
        """Return how many requests were made to paths that match."""
        return sum(
            times
            for (verb, where), times in self.requests.items()
            if method in (None, verb) and re.search(path, where)
        )

    def meet(self, method: str, path: str) -> Fault | None:
        """Count a request and return the failure that it meets after its work.

        Raises: Cut, Refused, where it fails before.
        """
        self.requests[method, path] += 1
        if self.outage:
            raise Cut
        self._within_rate()
        for fault in self._faults:
            if fault.is_about(method, path):
                fault.times -= 1
                if fault.after_effect:
                    return fault
                raise failure(fault)
        return None

    def _within_rate(self) -> None:
        if self.per_second is None:
            return
        at = self.time.clock.now().timestamp()
        while self._lately and self._lately[0] <= at - 1:
            self._lately.popleft()
        if len(self._lately) >= self.per_second:
            raise failure(Fault(429, 1, "", None, after_effect=False, retry_after=1))
        self._lately.append(at)


def failure(fault: Fault) -> Exception:
    """Return the failure as it is raised."""
    if fault.status is None:
        return Cut()
    if fault.status == 429:
        after = 1 if fault.retry_after is None else fault.retry_after
        return Refused(
            "Too many requests hit the API too quickly.",
            status=429,
            code="rate_limit",
            headers={"Retry-After": f"{after:g}", "Stripe-Should-Retry": "true"},
        )
    return Refused(
        "An unknown error occurred. We've been notified.",
        status=fault.status,
        kind="api_error",
        headers={"Stripe-Should-Retry": "true"} if fault.status != 500 else {},
    )
