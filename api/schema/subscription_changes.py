"""The history of a subscription, in the money of a month."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog import subscription_changes
from api.catalog.subscription_changes import Change
from api.catalog.subscriptions import SubscriptionRecord
from api.schema import ids
from api.schema.context import Context
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import SignedUnits


@strawberry.type(
    description="One change of a subscription. MRR is what its prices and quantities come to in a "
    "month, add-ons included, in minor units, without discounts and taxes; it counts while the "
    "subscription is active, in its trial, or past due, and is 0 else; null where the provider did "
    "not tell what a price comes to."
)
class SubscriptionChange:
    """One change."""

    id: strawberry.ID
    at: datetime
    kind: str = strawberry.field(description="started, ended, status, plan or items.")
    status_before: str | None
    status_after: str
    plan_before: str | None
    plan_after: str | None
    price_before: str | None
    price_after: str | None
    currency: str | None
    mrr_minor_before: SignedUnits | None
    mrr_minor_after: SignedUnits | None
    cause: str = strawberry.field(description="The event that it was learned from.")
    correlation_id: str | None


async def changes_of(
    context: Context, record: SubscriptionRecord, first: int, after: str | None
) -> Connection[SubscriptionChange]:
    """Read one page of a subscription's history. Raises: InvalidInput."""
    services = context.services
    expect_first(first, min(services.max_page_size, subscription_changes.MOST_IN_A_PAGE - 1))
    before = ids.place_number("SubscriptionChange", after)
    rows = await subscription_changes.of_subscription(
        services.database, record, first=first + 1, before=before
    )
    return page(
        rows,
        first,
        after=after,
        cursor=lambda row: ids.cursor("SubscriptionChange", row.id),
        node=_change_of,
    )


def _change_of(row: Change) -> SubscriptionChange:
    return SubscriptionChange(
        id=strawberry.ID(ids.encode("SubscriptionChange", row.id)),
        at=row.at,
        kind=row.kind.value,
        status_before=row.status_before,
        status_after=row.status_after,
        plan_before=row.plan_before,
        plan_after=row.plan_after,
        price_before=row.price_before,
        price_after=row.price_after,
        currency=row.currency,
        mrr_minor_before=_units(row.mrr_minor_before),
        mrr_minor_after=_units(row.mrr_minor_after),
        cause=row.cause,
        correlation_id=row.correlation_id,
    )


def _units(amount: int | None) -> SignedUnits | None:
    return None if amount is None else SignedUnits(amount)
