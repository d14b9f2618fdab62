"""Both roads, side by side: the same case on each, and what differs in what came of it."""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
import pytest

from api.schema.context import Context
from api.schema.execution import Executor
from api.schema.services import Services
from tests.schema.roads.cases import Case
from tests.schema.roads.scripted_schema import Stage
from tests.schema.roads.virtual_time import VirtualTime

_ADDRESS = re.compile(r"0x[0-9a-f]+")
_COMPILED = re.compile(r"coroutine \\?'(field\d+|root|_join|_or_null|_or_raise)'")


@dataclass
class Outcome:
    """All that came of a case on one road, and that the other must equal."""

    body: bytes
    status: int
    retry_after_seconds: int | None
    raised: str
    calls: list[str]
    batches: list[str]
    logged: list[str]
    left: list[str]
    """What could be told to nobody, as a coroutine that was never awaited."""

    def parts(self) -> dict[str, Any]:
        """Return what is compared, by name; of objects in JSON also the order of their keys."""
        # Where an object is told as text, its address is in it.
        text = _ADDRESS.sub("0x", self.body.decode())
        body: dict[str, Any] = orjson.loads(text) if text else {}
        return {
            "status": self.status,
            "retry after": self.retry_after_seconds,
            "raised": self.raised,
            "members": sorted(body),
            "data": ordered(body.get("data")),
            "errors": ordered(body.get("errors")),
            "calls": self.calls,
            "batches": self.batches,
            "logged": self.logged,
            "left": [],
        }


class Road:
    """One executor of a scripted schema."""

    def __init__(self, stage: Stage, executor: Executor, loop: VirtualTime, bugs: BugsTold) -> None:
        self._stage = stage
        self._bugs = bugs
        self._executor = executor
        self._loop = loop

    def take(self, case: Case) -> Outcome:
        """Return what comes of ``case`` here."""
        # Nothing behind the script asks the parts that answer in earnest.
        context = Context(cast("Services", None), case.principal, case.at_us)
        play = self._stage.open(case.seed, case.temper, context)
        self._bugs.lines, self._bugs.left = [], []
        body, status, wait, raised = b"", 0, None, ""
        try:
            answer = self._loop.run(self._executor.execute(case.request, context))
            body, status, wait = answer.body, answer.status, answer.retry_after_seconds
        except (TypeError, ValueError) as error:
            raised = f"{type(error).__name__}: {error}"
        bugs = self._bugs
        return Outcome(body, status, wait, raised, play.calls, play.batches, bugs.lines, bugs.left)


class BugsTold(logging.Handler):
    """Keeps one line of every bug that is logged, and numbers their ids, which are random else.

    Where its traceback came by is the road's own affair.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.left: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info
        error = record.exc_info[1]
        self.lines.append(_ADDRESS.sub("0x", f"{type(error).__name__}: {error}"))

    def leave(self, told: str) -> None:
        """Keep what is told of a compiled operation; of the general road it may come late."""
        if _COMPILED.search(told):
            self.left.append(told)

    @classmethod
    @contextmanager
    def kept(cls) -> Iterator[BugsTold]:
        """Keep them from every other handler meanwhile; formatting them costs the most."""
        own = cls()
        log = logging.getLogger("api.schema.errors")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_hex", lambda size: f"{len(own.lines):0{2 * size}x}")
            patch.setattr(log, "propagate", False)
            patch.setattr(log, "handlers", [own])
            patch.setattr(sys, "unraisablehook", lambda told: own.leave(repr(told.exc_value)))
            yield own


def difference(case: Case, one: Outcome, other: Outcome) -> str | None:
    """Return how two outcomes of ``case`` differ, fit to find out why; None where they agree."""
    if replace(one, left=[]) == other:
        return None
    mine, theirs = one.parts(), other.parts()
    theirs["left"] = other.left
    names = [name for name in mine if mine[name] != theirs[name]]
    if not names:
        return None
    lines = [f"The roads differ in {', '.join(names)}.", case.request.query or "by its digest"]
    lines.append(f"operation name: {case.request.operation_name!r}, safe: {case.request.safe}")
    lines.append(f"variables: {json.dumps(case.request.variables)}")
    lines.append(f"caller: {case.principal}, seed: {case.seed}, {case.temper}")
    for label, outcome in (("general", one), ("compiled", other)):
        lines.append(f"{label}: {outcome.status} {outcome.raised} {outcome.body.decode()}")
        parts = outcome.parts() | {"left": outcome.left}
        lines += [f"{label} {name}: {parts[name]}" for name in names if name in _BESIDES]
    return "\n".join(lines)


_BESIDES = ("calls", "batches", "logged", "retry after", "left")


def ordered(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Return JSON of which the order of keys counts where it is compared."""
    if isinstance(value, dict):
        return [(key, ordered(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [ordered(inner) for inner in value]
    return value
