"""A line for some of the requests, and for each that failed on our side.

What is told of a request: method, path without its query, status, milliseconds until the answer
began, who asked, and, of a customer's token, whose. No credential, no address, nothing of a body.
"""

from __future__ import annotations

import logging
import random
from time import perf_counter

from starlette.types import Message, Scope, Send

from api.gates.access import Access, presented
from api.infra.clock import Clock
from api.infra.few_lines import FewLines

log = logging.getLogger(__name__)

FAILED = 500

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
        credential = presented(sent)
        if credential is None:
            return {}
        known = self._access.recall(credential, int(self._clock.now().timestamp() * 1000))
        if known is None:
            return {}
        whose = {} if known.customer is None else {"customer": known.customer}
        return {"actor": known.actor, **whose}


_failures = FewLines()


def failed(scope: Scope, status: int, since: float) -> None:
    """Write the line of a request that is answered with 5xx, begun at ``since``."""
    if scope["path"] == PROBE or (untold := _failures.untold()) is None:
        return
    without = {"failures_without_a_line": untold} if untold else {}
    log.warning("request failed", extra=_facts(scope, status, since) | without)


def _facts(scope: Scope, status: int, since: float) -> dict[str, object]:
    return {
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
        "status": status,
        "ms": round((perf_counter() - since) * 1000, 3),
    }
