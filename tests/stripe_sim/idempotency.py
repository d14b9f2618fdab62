"""Requests that are sent again under the same key get the first one's answer.

An answer is kept once the endpoint began to work; a request that was refused for its rate, its key
or its parameters is not, as Stripe describes it. Keys are kept for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.stripe_sim.errors import Refused
from tests.stripe_sim.timeline import DAY, Timeline

Json = dict[str, Any]


@dataclass
class _Kept:
    path: str
    params: Json
    until: int
    answer: tuple[int, Json] | None = None


class Idempotency:
    """What was answered under which key."""

    def __init__(self, time: Timeline) -> None:
        self._time = time
        self._kept: dict[str, _Kept] = {}

    def begin(self, key: str, path: str, params: Json) -> tuple[int, Json] | None:
        """Take a key for a request, or return what was answered to it. Raises: Refused."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._time.now:
            self._kept[key] = _Kept(path, params, self._time.now + DAY)
            return None
        if kept.path != path:
            raise Refused(
                "Keys for idempotent requests can only be used for the same endpoint they were "
                f"first used for ('{path}' vs '{kept.path}'). Try using a key other than '{key}' "
                "if you meant to execute a different request.",
                kind="idempotency_error",
            )
        if kept.params != params:
            raise Refused(
                "Keys for idempotent requests can only be used with the same parameters they "
                f"were first used with. Try using a key other than '{key}' if you meant to "
                "execute a different request.",
                kind="idempotency_error",
            )
        if kept.answer is None:
            raise Refused(
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                "through). Please try again later.",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        return kept.answer

    def end(self, key: str, status: int, body: Json) -> None:
        """Keep the answer of the request that took this key."""
        self._kept[key].answer = (status, body)

    def give_up(self, key: str) -> None:
        """Let a key go whose request never began to work."""
        self._kept.pop(key, None)
