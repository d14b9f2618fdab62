"""A journey: many cases on both roads, what they met, and how many of them were compiled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from api.schema.execution import Executor
from tests.schema.roads.both_roads import BugsTold, Outcome, Road, difference
from tests.schema.roads.cases import Case, cases
from tests.schema.roads.documents import DocumentWriter
from tests.schema.roads.scripted_schema import scripted_schema
from tests.schema.roads.virtual_time import VirtualTime


@dataclass
class Met:
    """What the cases of a journey came to."""

    cases: int = 0
    ran: int = 0
    """Operations that were executed: their documents were valid and their variables fit."""
    compiled: int = 0
    """Of these."""
    seconds: float = 0.0
    """Of CPU, both roads and the making of cases together."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Cases by what they met, so that no kind is missing unnoticed."""

    def count(self, case: Case, outcome: Outcome, *, compiled: bool) -> None:
        """Count one case in."""
        self.cases += 1
        partial = b'"errors":' in outcome.body and b'"data":{' in outcome.body
        kinds = {
            "whole": outcome.status == 200 and b'"errors":' not in outcome.body,
            "partial": partial,
            "null": b'"data":null' in outcome.body,
            "refused": outcome.status == 400,
            "not by GET": outcome.status == 405,
            "denied": b'"denials":' in outcome.body,
            "forbidden": b'"FORBIDDEN"' in outcome.body,
            "nobody": case.principal is None,
            "masked": bool(outcome.logged),
            "loaded": bool(outcome.batches),
            "by its digest": case.request.query is None,
        }
        self.kinds.update(name for name, met in kinds.items() if met)
        if outcome.status == 200:
            self.ran += 1
            self.compiled += compiled

    @property
    def share(self) -> float:
        """How much of what ran was compiled."""
        return self.compiled / self.ran


@dataclass
class Journey:
    """Two roads through one scripted schema."""

    general: Road
    compiled: Road
    roads: Executor
    writer: DocumentWriter

    def go(self, seed: int, count: int) -> tuple[Met, str | None]:
        """Take so many cases by both roads; return also the first difference, where it ended."""
        met = Met()
        since = time.process_time()
        found = None
        for case in cases(self.writer, seed, count):
            one = self.general.take(case)
            before = self.roads.roads.compiled
            other = self.compiled.take(case)
            met.count(case, one, compiled=self.roads.roads.compiled > before)
            found = difference(case, one, other)
            if found is not None:
                break
        met.seconds = time.process_time() - since
        return met, found


@contextmanager
def journey(*, sync_share: float = 0.0) -> Iterator[Journey]:
    """Open both roads. ``sync_share`` of the fields that are async else answer at once."""
    with (
        scripted_schema(sync_share=sync_share) as stage,
        BugsTold.kept() as bugs,
        closing(VirtualTime()) as loop,
    ):
        general = Executor(stage.schema, compiled=False)
        compiled = Executor(stage.schema, uses=0)
        writer = DocumentWriter(stage.schema._schema)  # noqa: SLF001 - it has no public name
        yield Journey(
            Road(stage, general, loop, bugs), Road(stage, compiled, loop, bugs), compiled, writer
        )
