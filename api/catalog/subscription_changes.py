"""What each change of a subscription came to in the money of a month, so that history can be told.

A change is told from the one before it, so the same state told twice is no change. Money counts
while a subscription is active, in its trial, or late with its payment; discounts and taxes do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any

from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import MAX_UNITS
from api.domain.entitlements import SubscriptionStatus
from api.domain.event_order import TERMINAL
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("subscription_changes")

MOST_IN_A_PAGE = 201
COUNTING = frozenset(
    {SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE}
)
"""While a subscription is one of these its prices count."""


class ChangeKind(StrEnum):
    """What changed; of several the first."""

    STARTED = "started"
    ENDED = "ended"
    STATUS = "status"
    PLAN = "plan"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Line:
    """So many of one price, each ``amount_minor`` in every ``months``; None where it is no rent."""

    price: str
    quantity: int
    amount_minor: int
    currency: str | None
    months: int | None

    @property
    def stated(self) -> list[Any]:
        """What of it is compared and kept."""
        return [self.price, self.quantity, self.amount_minor, self.months]


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was kept."""

    id: int
    at: datetime
    kind: ChangeKind
    status_before: str | None
    status_after: str
    plan_before: str | None
    plan_after: str | None
    price_before: str | None
    price_after: str | None
    currency: str | None
    mrr_minor_before: int
    mrr_minor_after: int
    detail: Mapping[str, Any]
    cause: str
    correlation_id: str | None


def mrr_minor(status: SubscriptionStatus, lines: Sequence[Line]) -> int:
    """Return what the lines come to in a month: a year's price by 12, the sum rounded half even."""
    if status not in COUNTING:
        return 0
    whole = sum(
        (Decimal(one.amount_minor * one.quantity) / one.months for one in lines if one.months),
        Decimal(0),
    )
    return int(whole.quantize(Decimal(1), ROUND_HALF_EVEN))


async def note(
    conn: Connection, record: SubscriptionRecord, lines: Sequence[Line], cause: str, at: datetime
) -> bool:
    """Keep what changed since the last change; in the transaction that writes ``record``.

    Returns whether anything did. Cost: two statements.
    """
    last = await conn.fetchrow(_sql.last, record.provider, record.provider_id)
    items = sorted((one.stated for one in lines), key=str)
    before = None if last is None else _state(last)
    after = (record.status.value, record.plan, record.price, dict(record.add_ons), items)
    if before == after:
        return False
    currency = next((one.currency for one in lines if one.currency), None)
    await conn.execute(
        _sql.add,
        record.customer_id,
        record.provider,
        record.provider_id,
        at,
        _kind(last, record).value,
        None if last is None else last["status_after"],
        record.status.value,
        None if last is None else last["plan_after"],
        record.plan,
        None if last is None else last["price_after"],
        record.price,
        currency,
        0 if last is None else last["mrr_minor_after"],
        mrr_minor(record.status, lines),
        {"add_ons": dict(record.add_ons), "items": items},
        cause,
        correlation_id(),
    )
    return True


async def of_subscription(
    database: Database, record: SubscriptionRecord, *, first: int, before: int | None = None
) -> Sequence[Change]:
    """Return at most ``first`` changes of a subscription, the last one first."""
    count = min(max(first, 0), MOST_IN_A_PAGE)
    last = MAX_UNITS if before is None else before
    rows = await database.fetch(
        _sql.of_subscription, record.provider, record.provider_id, last, count
    )
    return [_change(row) for row in rows]


def _state(row: Record) -> tuple[Any, ...]:
    detail = row["detail"]
    return (
        row["status_after"],
        row["plan_after"],
        row["price_after"],
        detail["add_ons"],
        detail["items"],
    )


def _kind(last: Record | None, record: SubscriptionRecord) -> ChangeKind:
    if last is None:
        return ChangeKind.STARTED
    if record.status.value != last["status_after"]:
        return ChangeKind.ENDED if record.status in TERMINAL else ChangeKind.STATUS
    return ChangeKind.PLAN if record.plan != last["plan_after"] else ChangeKind.ITEMS


def _change(row: Record) -> Change:
    return Change(
        id=row["id"],
        at=row["at"],
        kind=ChangeKind(row["kind"]),
        status_before=row["status_before"],
        status_after=row["status_after"],
        plan_before=row["plan_before"],
        plan_after=row["plan_after"],
        price_before=row["price_before"],
        price_after=row["price_after"],
        currency=row["currency"],
        mrr_minor_before=row["mrr_minor_before"],
        mrr_minor_after=row["mrr_minor_after"],
        detail=row["detail"],
        cause=row["cause"],
        correlation_id=row["correlation_id"],
    )
