"""Stripe's objects and events in their present shapes, and signatures as Stripe makes them.

The shapes are those of API version 2026-10-28.endive: periods on subscription items, an invoice's
subscription under ``parent``. A ``Life`` is one customer's course at Stripe: each method moves its
objects and returns the event that Stripe would send. The signature is computed here, from Stripe's
description of it, not by the package under test.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

VERSION = "2026-10-28.endive"
SECRET = "whsec_" + "a" * 32

Json = dict[str, Any]


def unix(at: datetime) -> int:
    return int(at.timestamp())


def signed(body: bytes, at: datetime, secret: str = SECRET) -> str:
    """Return the Stripe-Signature header for ``body``, sent at that instant."""
    seconds = unix(at)
    mac = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={mac}"


def body_of(event: Json) -> bytes:
    """Return the event as Stripe sends it: indented JSON."""
    return orjson.dumps(event, option=orjson.OPT_INDENT_2)


def event(
    event_type: str, obj: Json, at: datetime, *, event_id: str, version: str = VERSION
) -> Json:
    return {
        "id": event_id,
        "object": "event",
        "api_version": version,
        "created": unix(at),
        "data": {"object": copy.deepcopy(obj)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    }


def price(lookup_key: str | None, *, interval: str = "month") -> Json:
    return {
        "id": f"price_{lookup_key or 'nameless'}",
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": 1_700_000_000,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": lookup_key,
        "metadata": {},
        "nickname": None,
        "product": f"prod_{lookup_key or 'nameless'}",
        "recurring": {
            "interval": interval,
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 4900,
        "unit_amount_decimal": "4900",
    }


def item(
    subscription_id: str,
    lookup_key: str | None,
    start: datetime,
    end: datetime,
    *,
    quantity: int | None = 1,
) -> Json:
    return {
        "id": f"si_{subscription_id.removeprefix('sub_')}_{lookup_key}",
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": unix(start),
        "current_period_end": unix(end),
        "current_period_start": unix(start),
        "discounts": [],
        "metadata": {},
        "price": price(lookup_key),
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def subscription(
    subscription_id: str,
    customer: str,
    *,
    start: datetime,
    status: str = "active",
    prices: dict[str, int] | None = None,
    metadata: dict[str, str] | None = None,
    days: int = 31,
) -> Json:
    end = start + timedelta(days=days)
    wanted = {"starter_monthly": 1} if prices is None else prices
    return {
        "id": subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": unix(start),
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible", "flexible": {}},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": unix(start),
        "currency": "usd",
        "customer": customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list",
            "data": [item(subscription_id, k, start, end, quantity=n) for k, n in wanted.items()],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={subscription_id}",
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": metadata or {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None},
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": unix(start),
        "status": status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def checkout_session(
    session_id: str,
    customer: str | None,
    subscription_id: str | None,
    at: datetime,
    *,
    reference: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Json:
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": 4900,
        "amount_total": 4900,
        "cancel_url": None,
        "client_reference_id": reference,
        "created": unix(at),
        "currency": "usd",
        "customer": customer,
        "customer_account": None,
        "customer_details": {"email": "somebody@example.com", "name": None, "phone": None},
        "expires_at": unix(at + timedelta(hours=24)),
        "invoice": None,
        "livemode": False,
        "metadata": metadata or {},
        "mode": "payment" if subscription_id is None else "subscription",
        "payment_intent": None,
        "payment_status": "paid",
        "status": "complete",
        "subscription": subscription_id,
        "success_url": "https://example.com/success",
        "ui_mode": "hosted_page",
        "url": None,
    }


def invoice(
    invoice_id: str,
    customer: str,
    subscription_id: str | None,
    at: datetime,
    *,
    paid: bool = True,
    until: datetime | None = None,
) -> Json:
    end = at + timedelta(days=31) if until is None else until
    details: Json = {"metadata": {}, "subscription": subscription_id}
    return {
        "id": invoice_id,
        "object": "invoice",
        "amount_due": 4900,
        "amount_overpaid": 0,
        "amount_paid": 4900 if paid else 0,
        "amount_remaining": 0 if paid else 4900,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": not paid,
        "billing_reason": "subscription_cycle" if subscription_id else "manual",
        "collection_method": "charge_automatically",
        "created": unix(at),
        "currency": "usd",
        "customer": customer,
        "customer_account": None,
        "discounts": [],
        "lines": {
            "object": "list",
            "data": [
                {
                    "id": f"il_{invoice_id.removeprefix('in_')}",
                    "object": "line_item",
                    "amount": 4900,
                    "currency": "usd",
                    "parent": {
                        "invoice_item_details": None,
                        "subscription_item_details": {
                            "invoice_item": None,
                            "proration": False,
                            "proration_details": {"credited_items": None},
                            "subscription": subscription_id,
                            "subscription_item": "si_1",
                        },
                        "type": "subscription_item_details",
                    },
                    "period": {"end": unix(end), "start": unix(at)},
                    "quantity": 1,
                }
            ],
            "has_more": False,
            "url": f"/v1/invoices/{invoice_id}/lines",
        },
        "livemode": False,
        "metadata": {},
        "parent": {
            "quote_details": None,
            "subscription_details": details,
            "type": "subscription_details",
        }
        if subscription_id
        else None,
        "period_end": unix(at),
        "period_start": unix(at),
        "status": "paid" if paid else "open",
        "total": 4900,
    }


def customer(customer_id: str, *, metadata: dict[str, str] | None = None) -> Json:
    return {
        "id": customer_id,
        "object": "customer",
        "created": 1_700_000_000,
        "delinquent": False,
        "email": None,
        "livemode": False,
        "metadata": metadata or {},
        "name": None,
    }


class Life:
    """One customer's course at Stripe. ``at`` moves only when told; every change is an event."""

    def __init__(
        self, key: str, at: datetime, *, named: bool = False, prices: dict[str, int] | None = None
    ) -> None:
        self.key = key
        self.at = at.replace(microsecond=0)
        tag = f"{zlib.crc32(key.encode()):08x}"
        self.tag = tag
        self.customer = f"cus_{tag}"
        self.subscription_id = f"sub_{tag}"
        self.state = subscription(
            self.subscription_id,
            self.customer,
            start=self.at,
            status="incomplete",
            prices=prices,
            metadata={"headroom_customer": key} if named else {},
        )
        self._events = 0

    def later(self, **by: float) -> Life:
        """Let time pass at Stripe."""
        self.at += timedelta(**by)
        return self

    def created(self, status: str = "incomplete") -> Json:
        self.state["status"] = status
        return self._event("customer.subscription.created", self.state)

    def checked_out(self) -> Json:
        session = checkout_session(
            f"cs_test_{self.tag}",
            self.customer,
            self.subscription_id,
            self.at,
            reference=self.key,
        )
        return self._event("checkout.session.completed", session)

    def became(self, status: str) -> Json:
        self.state["status"] = status
        return self._updated()

    def took(self, **prices: int) -> Json:
        """Change what the subscription holds: an upgrade, a downgrade, an add-on, a quantity."""
        old = self.state["items"]["data"][0]
        start, end = (
            datetime.fromtimestamp(old[f"current_period_{edge}"], UTC) for edge in ("start", "end")
        )
        self.state["items"]["data"] = [
            item(self.subscription_id, key, start, end, quantity=count)
            for key, count in prices.items()
        ]
        return self._updated()

    def lies(self, start: datetime, end: datetime, anchor: datetime | None = None) -> Life:
        """Let the present period lie so, and be anchored where it begins unless told."""
        for held in self.state["items"]["data"]:
            held |= {"current_period_start": unix(start), "current_period_end": unix(end)}
        if anchor is not None:
            self.state["billing_cycle_anchor"] = unix(anchor)
        return self

    def renewed(self, *, days: int = 31) -> Json:
        for held in self.state["items"]["data"]:
            held["current_period_start"] = held["current_period_end"]
            held["current_period_end"] += days * 86_400
        return self._updated()

    def ends_at_period_end(self) -> Json:
        self.state["cancel_at_period_end"] = True
        self.state["cancel_at"] = self.state["items"]["data"][0]["current_period_end"]
        self.state["canceled_at"] = unix(self.at)
        return self._updated()

    def goes_on(self) -> Json:
        self.state |= {"cancel_at_period_end": False, "cancel_at": None, "canceled_at": None}
        return self._updated()

    def deleted(self) -> Json:
        self.state |= {
            "status": "canceled",
            "ended_at": unix(self.at),
            "canceled_at": unix(self.at),
        }
        return self._event("customer.subscription.deleted", self.state)

    def trial(self, *, days: int) -> Json:
        end = unix(self.at + timedelta(days=days))
        self.state |= {
            "status": "trialing",
            "trial_start": unix(self.at),
            "trial_end": end,
            "billing_cycle_anchor": end,
        }
        for held in self.state["items"]["data"]:
            held["current_period_end"] = end
        return self._event("customer.subscription.created", self.state)

    def trial_will_end(self) -> Json:
        return self._event("customer.subscription.trial_will_end", self.state)

    def paused(self) -> Json:
        self.state["status"] = "paused"
        return self._event("customer.subscription.paused", self.state)

    def resumed(self) -> Json:
        self.state["status"] = "active"
        return self._event("customer.subscription.resumed", self.state)

    def invoiced(self, *, paid: bool) -> Json:
        end = max(held["current_period_end"] for held in self.state["items"]["data"])
        made = invoice(
            f"in_{self.tag}_{self._events}",
            self.customer,
            self.subscription_id,
            self.at,
            paid=paid,
            until=datetime.fromtimestamp(end, UTC),
        )
        return self._event("invoice.paid" if paid else "invoice.payment_failed", made)

    def _updated(self) -> Json:
        return self._event("customer.subscription.updated", self.state)

    def _event(self, event_type: str, obj: Json) -> Json:
        self._events += 1
        return event(event_type, obj, self.at, event_id=f"evt_{self.tag}_{self._events:02}")


class Buying:
    """The course of one payment for packs at Stripe; every change is an event.

    ``state`` is the checkout; ``refunds`` and ``disputes`` are as they are now.
    """

    def __init__(
        self,
        tag: str,
        at: datetime,
        *,
        reference: str | None = "acme",
        customer: str | None = None,
        pack: str = "boost",
        quantity: str | None = None,
        amount: int = 1000,
    ) -> None:
        self.tag = tag
        self.at = at.replace(microsecond=0)
        self.amount = amount
        self.payment = f"pi_{tag}"
        self.charge_id = f"ch_{tag}"
        self.paid_at: datetime | None = None
        metadata = {"headroom_pack": pack}
        if quantity is not None:
            metadata["headroom_quantity"] = quantity
        self.state = checkout_session(
            f"cs_test_{tag}", customer, None, self.at, reference=reference, metadata=metadata
        )
        self.state |= {
            "payment_intent": self.payment,
            "amount_total": amount,
            "payment_status": "unpaid",
        }
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self._events = 0

    @property
    def checkout(self) -> str:
        """The id of the checkout session."""
        return str(self.state["id"])

    @property
    def objects(self) -> list[Json]:
        """All that Stripe holds of it now."""
        return [
            self.state,
            self._charge(),
            self._intent(),
            *self.refunds.values(),
            *self.disputes.values(),
        ]

    def later(self, **by: float) -> Buying:
        """Let time pass at Stripe."""
        self.at += timedelta(**by)
        return self

    def completed(self, payment_status: str = "paid") -> Json:
        self.state["payment_status"] = payment_status
        if payment_status == "paid":
            self.paid_at = self.at
        if payment_status == "no_payment_required":
            self.state |= {"payment_intent": None, "amount_total": 0}
        return self._event("checkout.session.completed", self.state)

    def succeeded(self) -> Json:
        self.state["payment_status"] = "paid"
        self.paid_at = self.at
        return self._event("checkout.session.async_payment_succeeded", self.state)

    def failed(self) -> Json:
        return self._event("checkout.session.async_payment_failed", self.state)

    def refunded(self, amount: int, name: str = "a", status: str = "succeeded") -> list[Json]:
        """Give money back: two events of one second, of the refund and of the charge."""
        made: Json = {
            "id": f"re_{self.tag}_{name}",
            "object": "refund",
            "amount": amount,
            "charge": self.charge_id,
            "created": unix(self.at),
            "currency": "usd",
            "metadata": {},
            "payment_intent": self.payment,
            "reason": None,
            "status": status,
        }
        self.refunds[made["id"]] = made
        return [
            self._event("refund.created", made),
            self._event("charge.refunded", self._charge()),
        ]

    def refund_failed(self, name: str = "a") -> Json:
        found = self.refunds[f"re_{self.tag}_{name}"]
        found["status"] = "failed"
        return self._event("refund.failed", found)

    def disputed(self, status: str = "needs_response", name: str = "a") -> Json:
        made: Json = {
            "id": f"dp_{self.tag}_{name}",
            "object": "dispute",
            "amount": self.amount,
            "charge": self.charge_id,
            "created": unix(self.at),
            "currency": "usd",
            "evidence_details": {"has_evidence": False, "past_due": False, "submission_count": 0},
            "is_charge_refundable": False,
            "metadata": {},
            "payment_intent": self.payment,
            "reason": "fraudulent",
            "status": status,
        }
        self.disputes[made["id"]] = made
        return self._event("charge.dispute.created", made)

    def dispute_became(self, status: str, event_type: str = "closed", name: str = "a") -> Json:
        found = self.disputes[f"dp_{self.tag}_{name}"]
        found["status"] = status
        return self._event(f"charge.dispute.{event_type}", found)

    def _charge(self) -> Json:
        gone = [r for r in self.refunds.values() if r["status"] not in ("failed", "canceled")]
        refunded = sum(refund["amount"] for refund in gone)
        return {
            "id": self.charge_id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount,
            "amount_refunded": refunded,
            "created": unix(self.paid_at or self.at),
            "currency": "usd",
            "customer": self.state["customer"],
            "disputed": bool(self.disputes),
            "metadata": {},
            "paid": True,
            "payment_intent": self.payment,
            "refunded": refunded == self.amount,
            "status": "succeeded",
        }

    def _intent(self) -> Json:
        paid = self.state["payment_status"] == "paid"
        return {
            "id": self.payment,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_received": self.amount if paid else 0,
            "created": unix(self.at),
            "currency": "usd",
            "customer": self.state["customer"],
            "latest_charge": self.charge_id,
            "metadata": {},
            "status": "succeeded" if paid else "processing",
        }

    def _event(self, event_type: str, obj: Json) -> Json:
        self._events += 1
        return event(event_type, obj, self.at, event_id=f"evt_{self.tag}_{self._events:02}")
