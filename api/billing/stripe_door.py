"""Stripe as the provider that is listened to: its events, and the objects that they point at.

Failure policy: that of ``stripe_api``. Nothing is retried here: the inbox tries again, at growing
intervals and under a new lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Self

import orjson

from api.billing import stripe_api, stripe_hints, stripe_payments, stripe_prices, stripe_shapes
from api.billing.budget import Budget
from api.billing.problems import Unreadable
from api.billing.provider import (
    Hint,
    Payload,
    ProviderEvent,
    ProviderInvoice,
    ProviderPurchase,
    ProviderSubscription,
)
from api.billing.shelf import Shelf
from api.billing.stripe_api import StripeApi
from api.billing.stripe_shelf import StripeShelf
from api.domain.payments import PaymentFact


class StripeDoor:
    """Stripe as the one provider of subscriptions; without an ``api_key`` nothing is read."""

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        api_key: str | None = None,
        api_base: str | None = None,
        timeout_seconds: float = 10.0,
        budget: Budget | None = None,
    ) -> None:
        self._secrets = tuple(secrets)
        self.api = StripeApi(api_key, api_base, timeout_seconds, budget)

    @property
    def background(self) -> StripeDoor:
        """The same door for work that nobody waits for; closed with this one."""
        other = copy(self)
        other.api = self.api.background
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to Stripe."""
        await self.api.close()

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return "stripe"

    @property
    def version(self) -> str:
        """The API version that the installed package pins."""
        return stripe_api.VERSION

    @property
    def reads(self) -> bool:
        """Whether objects can be read: a key is configured."""
        return self.api.answers

    def open(self, body: bytes, signature: str | None, at: datetime) -> ProviderEvent:
        """Return the event in ``body`` if one of the secrets signed it, not long before or after.

        The signature is over the bytes as they came. Raises: SignatureRefused, Unreadable.
        """
        stripe_api.require_signature(body, signature, self._secrets, at)
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unreadable("The body is not JSON.") from error
        envelope = stripe_shapes.envelope_of(payload)
        return ProviderEvent(
            id=envelope.id,
            type=envelope.type,
            version=envelope.api_version,
            created_at=stripe_shapes.instant(envelope.created),
            payload=payload,
        )

    def claimed_by(self, body: bytes) -> tuple[str | None, str | None]:
        """Return the event id and the customer that a body of no valid signature claims."""
        try:
            return stripe_shapes.claimed_by(orjson.loads(body))
        except orjson.JSONDecodeError:
            return None, None

    def subject(self, event_type: str, payload: Payload) -> str | None:
        """Return the id of the object that the event is about, None where nothing follows it."""
        return stripe_hints.subject(event_type, payload)

    def hint(self, event_type: str, payload: Payload) -> Hint:
        """Return what an event that has a subject points at. Raises: Unreadable."""
        return stripe_hints.hint(event_type, payload)

    async def hint_again(self, event_type: str, payload: Payload) -> Hint:
        """Return the same, from the event's own object as it is at our version.

        Raises: Unavailable, NotAtProvider, Unreadable.
        """
        object_id = str(payload["data"]["object"].get("id"))
        match event_type.split("."):
            case ["checkout", *_]:
                found = await self.api.read("checkout", "sessions", object_id)
            case ["customer", "created" | "updated"]:
                found = await self.api.read("customers", object_id)
            case ["invoice", *_]:
                found = await self.api.read("invoices", object_id)
            case ["subscription_schedule", *_]:
                found = await self.api.read("subscription_schedules", object_id)
            case ["refund", *_]:
                found = await self.api.read("refunds", object_id)
            case ["charge", "dispute", *_]:
                found = await self.api.read("disputes", object_id)
            case ["charge", *_]:
                found = await self.api.read("charges", object_id)
            case ["product" | "price", _] | ["customer", "deleted"]:
                # What is deleted cannot be read; of these only words count that no version changed.
                return stripe_hints.hint(event_type, payload)
            case _:
                return Hint(object_id, None, None)
        again = {"created": payload.get("created", 0), "data": {"object": found}}
        return stripe_hints.hint(event_type, again)

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription, with all its items and what is scheduled for it.

        Cost: one call, and one more per hundred items where the list was cut.
        Raises: Unavailable, NotAtProvider, Unreadable.
        """
        prices = [f"items.data.price.{name}" for name in stripe_prices.EXPANDED]
        found = await self.api.read(
            "subscriptions", subscription_id, expand=["schedule.phases.items.price", *prices]
        )
        told = stripe_shapes.subscription(found)
        if told.whole:
            return told
        prices = [f"data.price.{name}" for name in stripe_prices.EXPANDED]
        items = await self.api.pages(
            "subscription_items", subscription=subscription_id, expand=prices
        )
        return stripe_shapes.subscription(found, items)

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer. Raises: Unavailable, NotAtProvider."""
        return stripe_shapes.customer_key(await self.api.read("customers", customer))

    async def purchase(self, checkout_id: str) -> ProviderPurchase | None:
        """Read a checkout; None where it sells no pack.

        Cost: one call. Raises: Unavailable, NotAtProvider, Unreadable.
        """
        found = await self.api.read(
            "checkout", "sessions", checkout_id, expand=["payment_intent.latest_charge"]
        )
        told = stripe_payments.session(found)
        begun = stripe_shapes.instant(told.created)
        return stripe_payments.purchase(told, begun if told.paid else None)

    async def invoice(self, invoice_id: str) -> ProviderInvoice:
        """Read an invoice, with all its lines.

        Cost: one call, and one more per hundred lines where the list was cut.
        Raises: Unavailable, NotAtProvider, Unreadable.
        """
        found = await self.api.read("invoices", invoice_id)
        told = stripe_payments.invoice(found)
        if told.whole:
            return told
        lines = await self.api.pages("invoices", invoice_id, "lines")
        return stripe_payments.invoice(found, lines)

    async def payment(self, payment_id: str) -> list[PaymentFact]:
        """Read a payment, with all its refunds and disputes.

        Cost: three calls. Raises: Unavailable, NotAtProvider, Unreadable.
        """
        found = await self.api.read("payment_intents", payment_id)
        refunds = await self.api.pages("refunds", payment_intent=payment_id)
        disputes = await self.api.pages("disputes", payment_intent=payment_id)
        return stripe_payments.payment(found, refunds, disputes)

    async def shelf(self) -> Shelf:
        """Read all products and prices, from the share of the background.

        Cost: a call for each hundred. Raises: Unavailable, Unreadable.
        """
        return await StripeShelf(self.api.background).look()
