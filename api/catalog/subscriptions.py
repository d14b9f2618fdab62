"""Subscriptions as the record holds them, in words that any provider would understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.domain.entitlements import SubscriptionFacts, SubscriptionStatus
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("subscriptions")


@dataclass(frozen=True, slots=True)
class SubscriptionRecord:
    """One subscription. ``id`` is None until it was written; ``add_ons`` are (key, quantity).

    ``pending_plan`` waits for its payment; ``scheduled_plan`` comes by itself at ``scheduled_at``.
    ``provider_created_at`` and ``provider_event_id`` order states that were applied without
    reading the object again.
    """

    customer_id: int
    provider: str
    provider_id: str
    status: SubscriptionStatus
    plan: str | None
    price: str | None = None
    pending_plan: str | None = None
    add_ons: tuple[tuple[str, int], ...] = ()
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    billing_anchor: datetime | None = None
    trial_ends_at: datetime | None = None
    cancel_at_period_end: bool = False
    ends_at: datetime | None = None
    provider_created_at: datetime | None = None
    provider_event_id: str | None = None
    paid_until: datetime | None = None
    scheduled_plan: str | None = None
    scheduled_price: str | None = None
    scheduled_at: datetime | None = None
    id: int | None = None

    def facts(self) -> SubscriptionFacts:
        """Return what matters to entitlements; the record must have been written."""
        if self.id is None:
            raise ValueError("a subscription without an id was never written")
        return SubscriptionFacts(
            id=self.id,
            status=self.status,
            plan=self.plan,
            add_ons=self.add_ons,
            price=self.price,
            current_period_start=self.current_period_start,
            current_period_end=self.current_period_end,
            billing_anchor=self.billing_anchor,
            trial_ends_at=self.trial_ends_at,
            cancel_at_period_end=self.cancel_at_period_end,
            ends_at=self.ends_at,
            paid_until=self.paid_until,
        )


async def upsert(conn: Connection, record: SubscriptionRecord, at: datetime) -> int:
    """Write ``record`` over whatever is known under its provider's id; return our id.

    It changes rights, so it belongs inside ``Changes.change_on``.
    """
    written: int = await conn.fetchval(
        _sql.put,
        record.customer_id,
        record.provider,
        record.provider_id,
        record.status.value,
        record.plan,
        record.price,
        record.pending_plan,
        [list(pair) for pair in record.add_ons],
        record.current_period_start,
        record.current_period_end,
        record.billing_anchor,
        record.trial_ends_at,
        record.cancel_at_period_end,
        record.ends_at,
        record.provider_created_at,
        record.provider_event_id,
        record.paid_until,
        record.scheduled_plan,
        record.scheduled_price,
        record.scheduled_at,
        at,
    )
    return written


async def note_paid(
    conn: Connection, provider: str, provider_id: str, paid_until: datetime
) -> None:
    """Note that an invoice pays for a subscription so far, also before that is known."""
    await conn.execute(_sql.note_paid, provider, provider_id, paid_until)


async def paid_until(conn: Connection, provider: str, provider_id: str) -> datetime | None:
    """Return the end of the latest period that an invoice was paid for."""
    found: datetime | None = await conn.fetchval(_sql.paid_until, provider, provider_id)
    return found


async def set_paid(
    conn: Connection, provider: str, provider_id: str, until: datetime, at: datetime
) -> None:
    """Write down until when a known subscription is paid for; inside ``Changes.change_on``."""
    await conn.execute(_sql.set_paid, provider, provider_id, until, at)


async def by_customers(
    source: Connection | Database, customer_ids: Sequence[int]
) -> dict[int, tuple[SubscriptionRecord, ...]]:
    """Return every subscription of each customer, oldest first; an entry for each id given."""
    found: dict[int, list[SubscriptionRecord]] = {i: [] for i in customer_ids}
    for row in await source.fetch(_sql.by_customers, list(customer_ids)):
        found[row["customer_id"]].append(_record(row))
    return {customer_id: tuple(records) for customer_id, records in found.items()}


async def by_customer(
    source: Connection | Database, customer_id: int
) -> tuple[SubscriptionRecord, ...]:
    """Return every subscription that the customer ever had, oldest first."""
    return (await by_customers(source, [customer_id]))[customer_id]


async def many(source: Connection | Database, ids: Sequence[int]) -> dict[int, SubscriptionRecord]:
    """Return those of ``ids`` that exist."""
    rows = await source.fetch(_sql.by_ids, list(ids))
    return {row["id"]: _record(row) for row in rows}


async def named(
    source: Connection | Database, provider: str, provider_ids: Sequence[str]
) -> dict[str, SubscriptionRecord]:
    """Return those of ``provider_ids`` that are known."""
    rows = await source.fetch(_sql.by_provider_ids, provider, list(provider_ids))
    return {row["provider_id"]: _record(row) for row in rows}


async def find(
    source: Connection | Database, provider: str, provider_id: str
) -> SubscriptionRecord | None:
    """Return the subscription of that name at the provider, None when it is not known."""
    row = await source.fetchrow(_sql.by_provider_id, provider, provider_id)
    return None if row is None else _record(row)


def _record(row: Record) -> SubscriptionRecord:
    return SubscriptionRecord(
        customer_id=row["customer_id"],
        provider=row["provider"],
        provider_id=row["provider_id"],
        status=SubscriptionStatus(row["status"]),
        plan=row["plan"],
        price=row["price"],
        pending_plan=row["pending_plan"],
        add_ons=tuple((key, quantity) for key, quantity in row["add_ons"]),
        current_period_start=row["current_period_start"],
        current_period_end=row["current_period_end"],
        billing_anchor=row["billing_anchor"],
        trial_ends_at=row["trial_ends_at"],
        cancel_at_period_end=row["cancel_at_period_end"],
        ends_at=row["ends_at"],
        provider_created_at=row["provider_created_at"],
        provider_event_id=row["provider_event_id"],
        paid_until=row["paid_until"],
        scheduled_plan=row["scheduled_plan"],
        scheduled_price=row["scheduled_price"],
        scheduled_at=row["scheduled_at"],
        id=row["id"],
    )
