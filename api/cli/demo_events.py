"""What Stripe would send about one customer's subscription, in the shapes of its present version.

Source: Stripe's API reference for the version that the door to it pins. Periods stand on
subscription items, and an invoice points to its subscription through ``parent``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

Json = dict[str, Any]

PERIOD = timedelta(days=30)
_STEP_SECONDS = 2


@dataclass(slots=True)
class StripeLife:
    """One customer at Stripe: every method moves it on and returns the events that tell of it."""

    customer_key: str
    version: str
    began_at: datetime
    price: str = ""
    unit_minor: int = 0
    status: str = "active"
    _told: int = 0
    _mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def checks_out(self, price: str, amount_minor: int) -> list[Json]:
        """A completed checkout of ``price``: the session, the subscription, and its invoice."""
        self.price, self.unit_minor = price, amount_minor
        return [
            self._event("checkout.session.completed", self._session(amount_minor)),
            self._event("customer.subscription.created", self._subscription()),
            self._event("invoice.paid", self._invoice("subscription_create", amount_minor)),
        ]

    def changes_to(self, price: str, amount_minor: int) -> list[Json]:
        """A change of plan as the period begins, at once paid what it costs more."""
        self.price, self.unit_minor = price, self.unit_minor + amount_minor
        return [
            self._event("customer.subscription.updated", self._subscription()),
            self._event("invoice.paid", self._invoice("subscription_update", amount_minor)),
        ]

    def is_cancelled(self) -> list[Json]:
        """The end of the subscription, now."""
        self.status = "canceled"
        return [self._event("customer.subscription.deleted", self._subscription())]

    def _now(self) -> int:
        return int(self.began_at.timestamp()) + self._told * _STEP_SECONDS

    def _event(self, kind: str, thing: Json) -> Json:
        self._told += 1
        return {
            "id": f"evt_demo_{self._mark}_{self._told}",
            "object": "event",
            "api_version": self.version,
            "created": self._now(),
            "data": {"object": thing},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }

    def _id(self, kind: str) -> str:
        return f"{kind}_demo_{self._mark}"

    def _session(self, amount_minor: int) -> Json:
        return {
            "id": self._id("cs_test"),
            "object": "checkout.session",
            "amount_subtotal": amount_minor,
            "amount_total": amount_minor,
            "client_reference_id": self.customer_key,
            "created": self._now(),
            "currency": "usd",
            "customer": self._id("cus"),
            "invoice": self._id("in"),
            "livemode": False,
            "metadata": {},
            "mode": "subscription",
            "payment_status": "paid",
            "status": "complete",
            "subscription": self._id("sub"),
        }

    def _subscription(self) -> Json:
        start = int(self.began_at.timestamp())
        ended = self._now() if self.status == "canceled" else None
        return {
            "id": self._id("sub"),
            "object": "subscription",
            "billing_cycle_anchor": start,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": ended,
            "collection_method": "charge_automatically",
            "created": start,
            "currency": "usd",
            "customer": self._id("cus"),
            "discounts": [],
            "ended_at": ended,
            "items": {
                "object": "list",
                "data": [self._item(start)],
                "has_more": False,
                "url": f"/v1/subscription_items?subscription={self._id('sub')}",
            },
            "latest_invoice": self._id("in"),
            "livemode": False,
            "metadata": {},
            "pending_update": None,
            "schedule": None,
            "start_date": start,
            "status": self.status,
            "trial_end": None,
            "trial_start": None,
        }

    def _item(self, start: int) -> Json:
        return {
            "id": self._id("si"),
            "object": "subscription_item",
            "created": start,
            "current_period_start": start,
            "current_period_end": start + int(PERIOD.total_seconds()),
            "discounts": [],
            "metadata": {},
            "price": {
                "id": f"price_demo_{self.price}",
                "object": "price",
                "active": True,
                "billing_scheme": "per_unit",
                "currency": "usd",
                "livemode": False,
                "lookup_key": self.price,
                "metadata": {},
                "product": f"prod_demo_{self.price}",
                "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
                "type": "recurring",
                "unit_amount": self.unit_minor,
                "unit_amount_decimal": str(self.unit_minor),
            },
            "quantity": 1,
            "subscription": self._id("sub"),
            "tax_rates": [],
        }

    def _invoice(self, why: str, amount_minor: int) -> Json:
        start = int(self.began_at.timestamp())
        return {
            "id": f"{self._id('in')}_{self._told}",
            "object": "invoice",
            "amount_due": amount_minor,
            "amount_paid": amount_minor,
            "amount_remaining": 0,
            "billing_reason": why,
            "created": self._now(),
            "currency": "usd",
            "customer": self._id("cus"),
            "livemode": False,
            "metadata": {},
            "parent": {
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {"metadata": {}, "subscription": self._id("sub")},
            },
            "period_end": start + int(PERIOD.total_seconds()),
            "period_start": start,
            "status": "paid",
            "total": amount_minor,
        }


def signed(event: Json, secret: str, at: datetime) -> tuple[bytes, str]:
    """Return the body to send, and its ``Stripe-Signature``.

    The signature is HMAC-SHA256 of ``<seconds>.<body>`` under the endpoint's secret, in hex.
    """
    body = orjson.dumps(event, option=orjson.OPT_INDENT_2)
    seconds = int(at.timestamp())
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={seconds},v1={digest}"
