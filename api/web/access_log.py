"""A line for some of the requests, and for each that failed on our side.

What is told of a request: method, path without its query, status, milliseconds until the answer
began, who asked, and, of a customer's token, whose. No credential, no address, nothing of a body.
"""

from __future__ import annotations

import logging
import random
from time import monotonic, perf_counter

from starlette.types import Message, Scope, Send

from api.gates.access import Access
from api.infra.clock import Clock

log = logging.getLogger(__name__)

FAILED = 500
MOST_FAILED = 20
"""Failures that get a line within one second; the others of an outage are counted in the next."""

PROBE = "/readyz"
"""Not to be ready is an answer, and no failure."""
LONGEST_PATH = 200


class AccessLog:
    """Watches one request of ``every``, on average; 0 is none."""

    def __init__(self, access: Access, clock: Clock, every: int) -> None:
        self._access = access
        self._clock = clock
        self._every = every

    def gap(self) -> int:
        """Return which of the next requests to watch, by chance: traffic has rhythms; 0 is none."""
        return random.randint(1, 2 * self._every - 1) if self._every else 0  # noqa: S311

    def watched(self, scope: Scope, send: Send) -> Send:
        """Return a ``send`` that writes the line when the answer begins."""
        since = perf_counter()
        if scope["type"] != "http":
            return send

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < FAILED:
                log.info("request", extra=_facts(scope, message["status"], since) | self._by(scope))
            await send(message)

        return watched

    def _by(self, scope: Scope) -> dict[str, object]:
        """Tell who asks, where memory knows: nothing is looked up for a log."""
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if sent is None:
            return {}
        known = self._access.recall(sent, int(self._clock.now().timestamp() * 1000))
        if known is None:
            return {}
        whose = {} if known.customer is None else {"customer": known.customer}
        return {"actor": known.actor, **whose}


class _Failures:
    """Bounds what an outage writes."""

    def __init__(self) -> None:
        self._second = 0
        self._told = 0
        self._untold = 0

    def tell(self, facts: dict[str, object]) -> None:
        second = int(monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told >= MOST_FAILED:
            self._untold += 1
            return
        self._told += 1
        if self._untold:
            facts |= {"failures_without_a_line": self._untold}
            self._untold = 0
        log.warning("request failed", extra=facts)


_failures = _Failures()


def failed(scope: Scope, status: int, since: float) -> None:
    """Write the line of a request that is answered with 5xx, begun at ``since``."""
    if scope["path"] != PROBE:
        _failures.tell(_facts(scope, status, since))


def _facts(scope: Scope, status: int, since: float) -> dict[str, object]:
    return {
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": status,
        "ms": round((perf_counter() - since) * 1000, 3),
    }
