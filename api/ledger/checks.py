"""Whether balances and ledger agree: what an audit asks, and what mends a kept balance.

A balance is kept beside its entries for speed; where the two differ, the entries are right and the
balance is rebuilt from them. Where the ledger itself is at fault, only a new entry mends it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from api.domain.catalog import MAX_UNITS
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.ledger.entries import Kind, lock

_sql = Queries.load("credits")

CUSTOMERS_TOGETHER = 500
BALANCE_MISMATCH = "balance_mismatch"
LEDGER_SUM_MISMATCH = "ledger_sum_mismatch"


class Severity(StrEnum):
    """How soon somebody must look: ``critical`` where a balance is, or may be, wrong."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement: what was observed, and what there should be."""

    kind: str
    severity: Severity
    customer_id: int
    observed: str
    expected: str
    grant_id: int | None = None
    operation_id: str | None = None


async def balance_mismatch(
    database: Database, at: datetime, customer_id: int | None = None
) -> list[Finding]:
    """Return the grants whose kept balance is not what their entries sum to.

    What is available of an expired grant counts zero on both sides, so that no balance is wrong
    where only that differs: a warning.
    Cost: one statement for 500 customers, over all their entries.
    """
    found: list[Finding] = []
    async for span in _spans(database, customer_id):
        rows = await database.fetch(_sql.grants_beside_entries, *span)
        found += [_of_balance(row, at) for row in rows]
    return found


async def ledger_sum_mismatch(database: Database, customer_id: int | None = None) -> list[Finding]:
    """Return where the ledger disagrees with itself, or with what it was written for.

    Entries without a grant, grants not entered as given, accounts below zero, postings that do not
    sum to zero, entries between other accounts than their kind's, and operations and holds whose
    credits are not what their entries say.
    Cost: seven statements for 500 customers, over all their entries.
    """
    kinds = [[kind.word for kind in Kind], [k.debit for k in Kind], [k.credit for k in Kind]]
    found: list[Finding] = []
    async for span in _spans(database, customer_id):
        async with database.transaction(isolation="repeatable_read", readonly=True) as conn:
            for sql, describe in _LEDGER_CHECKS.items():
                more = kinds if sql == _sql.misplaced_entries else ()
                found += [describe(row) for row in await conn.fetch(sql, *span, *more)]
    return found


async def rebuild_balances(conn: Connection, customer_id: int) -> Mapping[int, tuple[int, int]]:
    """Make a customer's kept balances what its entries sum to; return those that were not.

    By grant: available and held as they are now. A sum below zero is left: no balance can say so.
    """
    await lock(conn, [customer_id])
    rows = await conn.fetch(_sql.rebuild_balances, customer_id)
    return {row["id"]: (row["available"], row["held"]) for row in rows}


async def _spans(database: Database, customer_id: int | None) -> AsyncIterator[tuple[int, int]]:
    """Cut all customers' numbers into half-open spans ``(above, up to]``, the last one endless."""
    if customer_id is not None:
        yield customer_id - 1, customer_id
        return
    above = -1
    while True:
        last = await database.fetchval(_sql.last_customer, above, CUSTOMERS_TOGETHER)
        if last is None:
            break
        yield above, last
        above = last
    yield above, MAX_UNITS


def _of_balance(row: Record, at: datetime) -> Finding:
    ended = row["expires_at"] is not None and row["expires_at"] <= at
    differs = row["held"] != row["sum_held"] or not ended
    return Finding(
        BALANCE_MISMATCH,
        Severity.CRITICAL if differs else Severity.WARNING,
        row["customer_id"],
        f"kept: {row['available']} available, {row['held']} held",
        f"entries: {row['sum_available']} available, {row['sum_held']} held"
        + ("; the grant has expired, its available credits count zero" if ended else ""),
        grant_id=row["id"],
    )


def _fault(
    row: Record, observed: str, expected: str, *, grant: str = "", operation: str = ""
) -> Finding:
    return Finding(
        LEDGER_SUM_MISMATCH,
        Severity.CRITICAL,
        row["customer_id"],
        observed,
        expected,
        grant_id=row[grant] if grant else None,
        operation_id=row[operation] if operation else None,
    )


def _without_grant(row: Record) -> Finding:
    entries = f"{row['entries']} entries of {row['amount']} credits in all"
    return _fault(row, entries, "a grant of that number", grant="grant_id")


def _issue(row: Record) -> Finding:
    return _fault(
        row, f"{row['issued']} credits entered as given", f"{row['units']} credits", grant="id"
    )


def _below_zero(row: Record) -> Finding:
    observed = f"{row['amount']} credits in account {row['account']}"
    return _fault(row, observed, "0 credits or more", grant="grant_id")


def _unbalanced(row: Record) -> Finding:
    return _fault(row, f"postings sum to {row['amount']}", "0")


def _misplaced(row: Record) -> Finding:
    return _fault(
        row,
        f"entry {row['id']}, a {row['kind']} of {row['amount']} credits in bucket {row['bucket']}, "
        f"from {row['debit']} to {row['credit']}",
        f"bucket {row['grant_bucket']}, from {row['kind_debit']} to {row['kind_credit']}",
        grant="grant_id",
        operation="operation_id",
    )


def _operation(row: Record) -> Finding:
    return _fault(
        row,
        f"{row['entered']} credits entered",
        f"{row['credits']} credits, as the operation recorded",
        operation="operation_id",
    )


def _hold(row: Record) -> Finding:
    return _fault(
        row,
        f"entries: {row['entered_credits']} set aside, {row['entered_spent']} spent, "
        f"{row['entered_held']} held",
        f"the hold: {row['credits']} set aside, {row['spent']} spent, {row['held']} held",
        operation="id",
    )


_LEDGER_CHECKS: Mapping[str, Callable[[Record], Finding]] = {
    _sql.entries_without_grant: _without_grant,
    _sql.issues_beside_units: _issue,
    _sql.impossible_accounts: _below_zero,
    _sql.unbalanced_customers: _unbalanced,
    _sql.misplaced_entries: _misplaced,
    _sql.operations_beside_entries: _operation,
    _sql.holds_beside_entries: _hold,
}
