"""The ledger of one customer as it can be read: entries, newest first, filtered, by pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import MAX_UNITS, Bucket
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.ledger.entries import Kind

_sql = Queries.load("credits")

MOST_IN_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger: ``amount`` moved from account ``debit`` to account ``credit``.

    ``operation_id`` is the consumption's, hold's or act's own name; the caller's name for it, where
    it gave one, or that of an outside fact stands in ``reference``.
    """

    id: int
    at: datetime
    kind: str
    debit: str
    credit: str
    amount: int
    grant_id: int
    bucket: Bucket
    feature: str | None
    units: int | None
    operation_id: str
    reason: str
    actor: str
    reference: str | None
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to read; what is None lets all pass. Time is half open.

    ``operations`` are names of one operation, its own or its caller's.
    """

    kinds: Collection[Kind] | None = None
    bucket: Bucket | None = None
    feature: str | None = None
    grant_id: int | None = None
    operations: Sequence[str] | None = None
    reference: str | None = None
    correlation_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


ALL = Filter()


async def entries(
    source: Connection | Database,
    customer_id: int,
    wanted: Filter = ALL,
    first: int = 50,
    before: int | None = None,
) -> list[Entry]:
    """Return at most ``first`` entries, newest first, older than the entry ``before``.

    Cost: one statement; with a filter that little passes, as many entries as it looks through.
    """
    rows = await source.fetch(
        _sql.entries,
        customer_id,
        MAX_UNITS if before is None else before,
        min(max(first, 0), MOST_IN_A_PAGE),
        None if wanted.kinds is None else [kind.word for kind in wanted.kinds],
        None if wanted.bucket is None else wanted.bucket.value,
        wanted.feature,
        wanted.grant_id,
        None if wanted.operations is None else list(wanted.operations),
        wanted.reference,
        wanted.correlation_id,
        wanted.since,
        wanted.until,
    )
    return [_entry(row) for row in rows]


def _entry(row: Record) -> Entry:
    return Entry(
        id=row["id"],
        at=row["at"],
        kind=row["kind"],
        debit=row["debit"],
        credit=row["credit"],
        amount=row["amount"],
        grant_id=row["grant_id"],
        bucket=Bucket(row["bucket"]),
        feature=row["feature"],
        units=row["units"],
        operation_id=row["operation_id"],
        reason=row["reason"],
        actor=row["actor"],
        reference=row["reference"],
        correlation_id=row["correlation_id"],
    )
