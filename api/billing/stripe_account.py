"""Stripe's lists, and what reconciliation does there.

Failure policy: that of ``stripe_api``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from api.billing import stripe_payments, stripe_shapes
from api.billing.account import Listed
from api.billing.problems import NotAtProvider, Unreadable
from api.billing.provider import ProviderInvoice, ProviderSubscription
from api.billing.stripe_door import StripeDoor
from api.domain.event_order import TERMINAL
from api.domain.payments import PaymentFact

SUBSCRIPTION = "sub_"
"""What the ids of subscriptions begin with."""


class StripeAccount:
    """Everything that Stripe holds for us; its calls wait for background work's share."""

    def __init__(self, door: StripeDoor) -> None:
        self._door = door
        self._api = door.api.background

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return self._door.name

    @property
    def reads(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        return self._api.answers

    async def subscriptions(self, customer: str | None = None) -> AsyncGenerator[list[Listed]]:
        """Yield every subscription, also those that ended, a hundred at a time.

        Cost: one call for each hundred, and one for each that has more than ten items or a
        schedule.
        """
        about = {} if customer is None else {"customer": customer}
        pages = self._api.each_page("subscriptions", status="all", **about)
        async with aclosing(pages):
            async for page in pages:
                yield [await self._whole(listed(one)) for one in page]

    async def paid_checkouts(self, since: datetime) -> AsyncGenerator[list[str]]:
        """Yield the paid checkouts of packs that were begun since an instant."""
        pages = self._api.each_page(
            "checkout",
            "sessions",
            created={"gte": int(since.timestamp())},
            status="complete",
        )
        async with aclosing(pages):
            async for page in pages:
                told = [stripe_payments.session(one) for one in page]
                yield [one.id for one in told if one.paid and stripe_payments.sells_pack(one)]

    async def money_back(self, since: datetime) -> AsyncGenerator[list[tuple[str, PaymentFact]]]:
        """Yield refunds and disputes begun since an instant. Cost: a call for each hundred."""
        begun = {"created": {"gte": int(since.timestamp())}}
        for listing, told_of in (
            ("refunds", stripe_payments.refund),
            ("disputes", stripe_payments.dispute),
        ):
            async with aclosing(self._api.each_page(listing, **begun)) as pages:
                async for page in pages:
                    told = [told_of(one) for one in page]
                    found = [(payment, fact) for payment, fact in told if payment is not None]
                    if found:
                        yield found

    async def invoices(
        self, since: datetime | None, customer: str | None = None
    ) -> AsyncGenerator[list[ProviderInvoice]]:
        """Yield invoices as far as the list shows them. Cost: a call for each hundred.

        Of a long invoice the last lines are lacking, so it may pay for more than is said here.
        """
        about: dict[str, Any] = {} if customer is None else {"customer": customer}
        if since is not None:
            about["created"] = {"gte": int(since.timestamp())}
        async with aclosing(self._api.each_page("invoices", **about)) as pages:
            async for page in pages:
                yield [stripe_payments.invoice(one) for one in page]

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription. Raises: NotAtProvider, Unavailable, Unreadable."""
        return await self._door.subscription(subscription_id)

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer."""
        return await self._door.customer_key(customer)

    async def end(self, subscription_id: str, key: str) -> None:
        """End a subscription now, without a bill; one that has ended is left as it is.

        Whoever paid twice gets money back by a refund, which a person decides.
        Raises: Unavailable, NotAtProvider, ProviderRefused.
        """
        call = self._api.v1.subscriptions.cancel_async(
            subscription_id,
            {"prorate": False, "invoice_now": False},
            {"idempotency_key": key},
        )
        try:
            await self._api.ask(call)
        except NotAtProvider:
            # Stripe says so of one that has ended as well; who is not there at all raises again.
            if (await self._door.subscription(subscription_id)).status not in TERMINAL:
                raise

    async def drop_change(self, subscription_id: str, key: str) -> None:
        """Drop a change that waits for its payment, by voiding the invoice that it waits for."""
        found = await self._api.read("subscriptions", subscription_id, expand=["latest_invoice"])
        invoice: dict[str, Any] = found.get("latest_invoice") or {}
        if found.get("pending_update") and invoice.get("status") == "open":
            await self._api.ask(
                self._api.v1.invoices.void_invoice_async(
                    invoice["id"], {}, {"idempotency_key": key}
                )
            )

    async def _whole(self, one: Listed) -> Listed:
        if one.told is None or (one.told.whole and one.told.scheduled is not None):
            return one
        return Listed(one.id, one.status, await self._door.subscription(one.id))


def listed(obj: dict[str, Any]) -> Listed:
    """Return a subscription's object as one of a list, whether or not it can be understood."""
    name, status = str(obj.get("id")), obj.get("status")
    try:
        return Listed(name, status, stripe_shapes.subscription(obj))
    except Unreadable as error:
        return Listed(name, status, problem=error.message)
