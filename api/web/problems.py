"""The one map from what went wrong to HTTP: ``application/problem+json`` (RFC 9457).

``type`` and ``docs`` lead to the page of the code; a denial carries all its facts besides. A bug is
logged under an error id and tells nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException

from api.domain.decision import Decision, LikeOthers
from api.domain.errors import (
    HeadroomError,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from api.schema.errors import bug_entry, extensions_of
from api.web.answers import decision_facts
from api.web.ratelimit_fields import fields_and_json
from api.web.wire import PROBLEM, Forms, HeaderLines, MethodNotAllowed, Told

LINES: HeaderLines = [
    (b"content-type", PROBLEM),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_FORMS = Forms(LINES)
_BUGS = 500
_RETRY_SECONDS = b"1"
"""How long to wait where an engine did not answer: most come back at once."""


class Problem:
    """A whole answer that says what is wrong."""

    __slots__ = ("body", "form", "lines")

    def __init__(self, said: dict[str, Any], lines: HeaderLines | None = None) -> None:
        self.form = _FORMS[said["status"]]
        self.body = orjson.dumps(said)
        self.lines: HeaderLines = lines or []

    @property
    def told(self) -> Told:
        """The answer as it is sent."""
        return self.form, self.lines, self.body


class _Words(NamedTuple):
    """A denial in words, as of a second: its header lines, and what it says."""

    at_s: int
    lines: HeaderLines
    said: dict[str, Any]


def denied(decision: Decision, at_s: int) -> Problem:
    """Tell why a call was refused, and what would help."""
    alike = decision.alike if type(decision) is LikeOthers else None
    words = None if alike is None else alike.problem
    if not isinstance(words, _Words) or words.at_s != at_s:
        words = _words(decision, at_s)
        if alike is not None:
            alike.problem = words
    wait = decision.retry_after_seconds
    said = words.said.copy()
    said["customer"] = decision.customer
    said["retryAfterSeconds"] = wait
    lines = words.lines.copy()
    if wait is not None:
        lines.append((b"retry-after", b"%d" % wait))
    return Problem(said, lines)


def _words(decision: Decision, at_s: int) -> _Words:
    lines, windows = fields_and_json(decision.feature, decision.windows, at_s, decision.units)
    head = _head(decision.code or "", decision.status, decision.message or "")
    return _Words(at_s, lines, head | decision_facts(decision, windows))


def failed(error: HeadroomError) -> Problem:
    """Tell an expected error."""
    said = _head(error.code, error.status, error.message) | extensions_of(error)
    lines: HeaderLines = []
    if isinstance(error, Unauthenticated):
        lines.append((b"www-authenticate", b'Bearer realm="headroom"'))
    elif isinstance(error, MethodNotAllowed):
        lines.append((b"allow", error.allowed.encode()))
    elif isinstance(error, RateLimited):
        lines.append((b"retry-after", str(error.retry_after_seconds).encode()))
    elif isinstance(error, Unavailable):
        lines.append((b"retry-after", _RETRY_SECONDS))
    return Problem(said, lines)


def problem_of(error: Exception, method: str) -> Problem:
    """Tell whatever was raised; what nobody expected is logged under an error id and masked."""
    if isinstance(error, HeadroomError):
        return failed(error)
    if isinstance(error, HTTPException) and error.status_code < _BUGS:
        allowed = (error.headers or {}).get("Allow")
        if allowed is not None:
            return failed(MethodNotAllowed(method, ", ".join(sorted(allowed.split(", ")))))
        return failed(NotFound("There is nothing at this path."))
    entry = bug_entry(error)
    extensions = entry["extensions"]
    return Problem(_head("INTERNAL", extensions["status"], entry["message"]) | extensions)


@lru_cache(maxsize=256)
def title_of(code: str) -> str:
    """Return the code in words, the same for every occurrence of the problem."""
    return code.replace("_", " ").capitalize()


def _head(code: str, status: int, detail: str) -> dict[str, Any]:
    return {
        "type": f"/docs/errors/{code}.md",
        "title": title_of(code),
        "status": status,
        "detail": detail,
    }
