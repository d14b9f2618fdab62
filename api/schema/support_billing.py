"""What support does at the payment provider, each with a reason."""

from __future__ import annotations

import strawberry

from api.billing.actions import By
from api.billing.support_actions import Coupon
from api.schema import ids
from api.schema.billing_operations import BillingOperation, BillingState, operation_of
from api.schema.context import Context, Info
from api.schema.customers import Customer, customer_of
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Units


@strawberry.input(description="Without an amount: all that is left of the payment.")
class RefundPaymentInput:
    """Money to be given back."""

    payment: str
    amount_minor: Units | None = strawberry.UNSET
    customer: str | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(description="percentOff or amountOffMinor; duration: once, repeating, forever.")
class CreateCouponInput:
    """A discount."""

    name: str
    percent_off: float | None = strawberry.UNSET
    amount_off_minor: Units | None = strawberry.UNSET
    currency: str | None = strawberry.UNSET
    duration: str = "once"
    months: int | None = strawberry.UNSET
    code: str | None = strawberry.UNSET
    most_redemptions: int | None = strawberry.UNSET
    idempotency_key: str | None = strawberry.UNSET


@strawberry.type(description="A customer as the payment provider knows it.")
class ProviderCustomer:
    """One of the provider's customers."""

    id: str
    email: str | None
    name: str | None
    key: str | None = strawberry.field(description="The product's name for it, where it was told.")
    linked_with: str | None = strawberry.field(
        description="The customer here whose events and invoices its own are; null for nobody."
    )


@strawberry.type(description="Who has an e-mail address, here and at the provider.")
class FoundCustomers:
    """Two lists."""

    customers: list[Customer]
    at_provider: list[ProviderCustomer]


@strawberry.type
class SupportBillingQuestions:
    """Who it is, and what was asked."""

    @described("Who has this address, here and at the payment provider.")
    async def find_customers(self, info: Info, email: str) -> FoundCustomers | None:
        """Find customers by their address. Raises: Unavailable."""
        here, there = await info.context.services.support_billing.find(email)
        return FoundCustomers(
            customers=[customer_of(one) for one in here],
            at_provider=[
                ProviderCustomer(
                    id=one.there.id,
                    email=one.there.email,
                    name=one.there.name,
                    key=one.there.key,
                    linked_with=one.linked,
                )
                for one in there
            ],
        )

    @described("Actions at the payment provider, the newest first.")
    async def billing_operations(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        customer: str | None = strawberry.UNSET,
        state: BillingState | None = strawberry.UNSET,
    ) -> Connection[BillingOperation]:
        """List actions."""
        services = info.context.services
        expect_first(first, services.max_page_size)
        key = given(customer)
        rows = await services.billing.operations.list_(
            first + 1,
            customer_id=None if key is None else (await services.customers.get(key)).id,
            state=state.value if state else None,
            before=ids.place_number("BillingOperation", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("BillingOperation", row.number),
            node=operation_of,
        )


@strawberry.type
class SupportBillingActs:
    """Giving back, and sending again."""

    @described("Give money back, all or a part. Credits that it bought follow by its event.")
    async def refund_payment(
        self,
        info: Info,
        input: RefundPaymentInput,  # noqa: A002 - the schema's name
        reason: str,
    ) -> BillingOperation | None:
        """Refund."""
        context = info.context
        done = await context.services.support_billing.refund(
            input.payment,
            given(input.amount_minor),
            customer=given(input.customer),
            by=_by(context, reason, given(input.idempotency_key)),
            at=context.at,
        )
        return operation_of(done)

    @described("Make a coupon, and with a code one that customers can type.")
    async def create_coupon(
        self,
        info: Info,
        input: CreateCouponInput,  # noqa: A002 - likewise
        reason: str,
    ) -> BillingOperation | None:
        """Create a coupon."""
        context = info.context
        coupon = Coupon(
            name=input.name,
            percent_off=given(input.percent_off),
            amount_off_minor=given(input.amount_off_minor),
            currency=given(input.currency),
            duration=input.duration,
            months=given(input.months),
            code=given(input.code),
            most_redemptions=given(input.most_redemptions),
        )
        done = await context.services.support_billing.create_coupon(
            coupon, by=_by(context, reason, given(input.idempotency_key)), at=context.at
        )
        return operation_of(done)

    @described("Have the provider send an invoice again.")
    async def resend_invoice(
        self,
        info: Info,
        invoice: str,
        reason: str,
        idempotency_key: str | None = strawberry.UNSET,
    ) -> BillingOperation | None:
        """Send it again."""
        context = info.context
        done = await context.services.support_billing.resend_invoice(
            invoice, by=_by(context, reason, given(idempotency_key)), at=context.at
        )
        return operation_of(done)

    @described("Say that an invoice was paid elsewhere.")
    async def mark_invoice_paid(
        self,
        info: Info,
        invoice: str,
        reason: str,
        idempotency_key: str | None = strawberry.UNSET,
    ) -> BillingOperation | None:
        """Mark it paid."""
        context = info.context
        done = await context.services.support_billing.mark_invoice_paid(
            invoice, by=_by(context, reason, given(idempotency_key)), at=context.at
        )
        return operation_of(done)


def _by(context: Context, reason: str, key: str | None) -> By:
    return By(context.caller.actor, reason, key)
