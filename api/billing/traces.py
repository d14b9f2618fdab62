"""All that was written under one correlation id, so that one problem can be followed end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("traces")

MOST_OF_A_KIND = 200


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One row: of which table, what it says in a line, and the facts that lead on from it."""

    at: datetime
    source: str
    customer: str | None
    what: str
    reference: str
    detail: Mapping[str, Any]


async def find(database: Database, correlation_id: str) -> Sequence[TraceEntry]:
    """Return what carries this id, oldest first; of each table the first ``MOST_OF_A_KIND``.

    Cost: one statement, an index for each table. Raises: Unavailable.
    """
    rows = await database.fetch(_sql.find, correlation_id, MOST_OF_A_KIND)
    return [
        TraceEntry(
            at=row["at"],
            source=row["source"],
            customer=row["customer"],
            what=row["what"],
            reference=row["reference"],
            detail=row["detail"],
        )
        for row in rows
    ]
