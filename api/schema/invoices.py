"""Invoices, as the customer's page shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.billing import invoices
from api.billing.invoices import InvoiceRecord
from api.catalog.customers import Customer as CustomerRow
from api.schema import ids
from api.schema.context import Context
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import SignedUnits, Units


@strawberry.type(description="An invoice of the payment provider. Amounts are in minor units.")
class Invoice:
    """One invoice."""

    id: strawberry.ID
    provider_id: str
    number: str | None
    status: str = strawberry.field(description="draft, open, paid, uncollectible or void.")
    currency: str
    total_minor: SignedUnits = strawberry.field(description="Below zero: a credit.")
    due_minor: Units
    paid_minor: Units
    remaining_minor: Units
    period_start: datetime | None
    period_end: datetime | None
    created_at: datetime
    due_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    attempts: int = strawberry.field(description="How often its payment was tried.")
    next_attempt_at: datetime | None
    reason: str | None = strawberry.field(description="Why it was made, in the provider's word.")
    hosted_url: str | None = strawberry.field(description="The provider's page to see and pay it.")
    pdf_url: str | None
    subscription_provider_id: str | None


async def invoices_of(
    context: Context, customer: CustomerRow, first: int, after: str | None
) -> Connection[Invoice]:
    """Read one page of a customer's invoices. Raises: InvalidInput."""
    services = context.services
    expect_first(first, min(services.max_page_size, invoices.MOST_IN_A_PAGE - 1))
    before = ids.place_number("Invoice", after)
    rows = await invoices.of_customer(
        services.database, customer.id, first=first + 1, before=before
    )
    return page(
        rows,
        first,
        after=after,
        cursor=lambda row: ids.cursor("Invoice", row.id),
        node=invoice_of,
    )


def invoice_of(row: InvoiceRecord) -> Invoice:
    """Show one invoice."""
    state = row.state
    return Invoice(
        id=strawberry.ID(ids.encode("Invoice", row.id)),
        provider_id=row.provider_id,
        number=state.number,
        status=state.status,
        currency=state.currency,
        total_minor=SignedUnits(state.total_minor),
        due_minor=Units(state.due_minor),
        paid_minor=Units(state.paid_minor),
        remaining_minor=Units(state.remaining_minor),
        period_start=state.period_start,
        period_end=state.period_end,
        created_at=state.created_at,
        due_at=state.due_at,
        paid_at=state.paid_at,
        voided_at=state.voided_at,
        attempts=state.attempts,
        next_attempt_at=state.next_attempt_at,
        reason=state.reason,
        hosted_url=state.hosted_url,
        pdf_url=state.pdf_url,
        subscription_provider_id=row.subscription_id,
    )
