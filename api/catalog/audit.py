"""The audit log: who did what to whom, and why. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from api.catalog.text import require_reason
from api.domain.catalog import MAX_UNITS
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("audit")

MOST_IN_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Act:
    """One action of an operator or of the product, as it was recorded."""

    id: int
    at: datetime
    actor: str
    action: str
    customer_id: int | None
    reason: str
    detail: Mapping[str, object]
    correlation_id: str | None


async def record(
    conn: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    reason: str,
    customer_id: int | None = None,
    detail: Mapping[str, object] | None = None,
    correlation_id: str | None = None,
) -> None:
    """Write one row in the caller's transaction; ``detail`` is whatever JSON can say.

    Raises: InvalidInput, for a reason that is not fit to be kept.
    """
    await conn.execute(
        _sql.record,
        at,
        actor,
        action,
        customer_id,
        require_reason(reason),
        dict(detail or {}),
        correlation_id,
    )


async def detail_of(
    conn: Connection, customer_id: int, action: str, operation: str
) -> Mapping[str, object] | None:
    """Return what was recorded of an operation on a customer, None where nothing was."""
    found: Mapping[str, object] | None = await conn.fetchval(
        _sql.act_of, customer_id, action, operation
    )
    return found


async def list_(
    database: Database,
    *,
    first: int = 50,
    customer_id: int | None = None,
    before: int | None = None,
) -> list[Act]:
    """Return at most ``first`` acts, newest first, older than the act ``before``."""
    count = min(max(first, 0), MOST_IN_A_PAGE)
    older_than = MAX_UNITS if before is None else before
    if customer_id is None:
        rows = await database.fetch(_sql.page, older_than, count)
    else:
        rows = await database.fetch(_sql.page_of_customer, customer_id, older_than, count)
    return [_act(row) for row in rows]


def _act(row: Record) -> Act:
    return Act(
        id=row["id"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        customer_id=row["customer_id"],
        reason=row["reason"],
        detail=row["detail"],
        correlation_id=row["correlation_id"],
    )


async def last_at(source: Connection | Database, action: str) -> datetime | None:
    """Return when this was done last, if it is among the latest 200 acts."""
    found: datetime | None = await source.fetchval(_sql.last_at, action)
    return found
