"""What each change of a subscription came to in the money of a month, so that history can be told.

A change is told from the one before it, so the same state told twice is no change. Money counts
while a subscription is active, in its trial, or late with its payment; discounts and taxes do not.
Where the provider does not tell what a price comes to, the sum is unknown, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import MAX_UNITS
from api.domain.entitlements import SubscriptionStatus
from api.domain.event_order import TERMINAL
from api.domain.rents import in_a_month
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
    """So many of one price: all of it costs ``cost_minor`` in every so many intervals.

    None where the cost could not be told. Without an interval it is paid once, and is no rent.
    """

    price: str
    price_id: str
    quantity: int
    cost_minor: Decimal | None
    currency: str | None
    interval: str | None
    every: int = 1

    @property
    def stated(self) -> dict[str, Any]:
        """What of it is compared and kept."""
        cost = None if self.cost_minor is None else f"{self.cost_minor.normalize():f}"
        return {
            "price": self.price,
            "price_id": self.price_id,
            "quantity": self.quantity,
            "cost_minor": cost,
            "currency": self.currency,
            "interval": self.interval,
            "every": self.every,
        }

    @property
    def monthly(self) -> Fraction | None:
        """What it comes to in a month, None where that cannot be told."""
        if self.cost_minor is None:
            return None
        if self.interval is None:
            return Fraction(0)
        return in_a_month(self.cost_minor, self.interval, self.every)


@dataclass(frozen=True, slots=True)
class Money:
    """What a subscription is known to be paid for, and what that comes to in a month."""

    lines: tuple[Line, ...]
    currency: str | None
    mrr_minor: int | None


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
    mrr_minor_before: int | None
    mrr_minor_after: int | None
    detail: Mapping[str, Any]
    cause: str
    correlation_id: str | None


def mrr_minor(status: SubscriptionStatus, lines: Sequence[Line]) -> int | None:
    """Return what the lines come to in a month, the sum rounded half to even; None if unknown.

    A line counts ``cost / (intervals * length)``, where a month's length is 1, a year's 12, a
    week's 12/52 and a day's 12/365. Metered use counts 0, as Stripe's own MRR has it:
    https://docs.stripe.com/billing/subscriptions/analytics/glossary. Other than there trials count,
    and discounts do not.
    """
    if status not in COUNTING:
        return 0
    known = [month for one in lines if (month := one.monthly) is not None]
    return round(sum(known, Fraction(0))) if len(known) == len(lines) else None


def completed(lines: Sequence[Line], known: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines with costs that were not told taken from the same ones that are known.

    Events and lists may leave costs out. A price of one id keeps its amounts, so the same quantity
    of it costs the same; should a provider let them be changed, the next reading tells.
    """
    costs = {_same(one): one.cost_minor for one in known}
    return tuple(
        one if one.cost_minor is not None else replace(one, cost_minor=costs.get(_same(one)))
        for one in lines
    )


def stated(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return what of the lines is compared and kept, in any order told alike."""
    return sorted((one.stated for one in lines), key=str)


def _same(line: Line) -> tuple[object, ...]:
    return line.price_id, line.quantity, line.currency, line.interval, line.every


async def note(
    conn: Connection, record: SubscriptionRecord, lines: Sequence[Line], cause: str, at: datetime
) -> bool:
    """Keep what changed since the last change; in the transaction that writes ``record``.

    Returns whether anything did. Cost: two statements.
    """
    last = await conn.fetchrow(_sql.last, record.provider, record.provider_id)
    lines = completed(lines, () if last is None else _money(last).lines)
    items = stated(lines)
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


async def last_of(
    source: Connection | Database, provider: str, provider_ids: Sequence[str]
) -> dict[str, Money]:
    """Return what each subscription that is named was last known to be paid for, by its id."""
    rows = await source.fetch(_sql.last_of, provider, list(provider_ids))
    return {row["provider_id"]: _money(row) for row in rows}


def _money(row: Record) -> Money:
    lines = tuple(_line(**item) for item in row["detail"]["items"])
    return Money(lines, row["currency"], row["mrr_minor_after"])


def _line(*, cost_minor: str | None, **rest: Any) -> Line:
    return Line(cost_minor=None if cost_minor is None else Decimal(cost_minor), **rest)


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
