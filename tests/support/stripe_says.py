"""What Headroom should hold, told from the simulated Stripe's own objects and by nobody's code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.domain.entitlements import SubscriptionFacts, SubscriptionStatus
from tests.stripe_sim import SimulatedStripe

Json = dict[str, Any]

PLANS = {
    "starter_monthly": "starter",
    "starter_yearly": "starter",
    "pro_monthly": "pro",
}
ADD_ONS = {"more_seats_monthly": "more_seats"}
PACKS = {"boost": 100, "gift": 7}
OVER = ("canceled", "incomplete_expired")
_STANDING = ("needs_response", "under_review", "lost")


@dataclass(frozen=True)
class Held:
    """A subscription as Stripe has it, in the record's words."""

    id: str
    customer: str
    payer: str
    status: str
    plan: str | None
    price: str | None
    pending_plan: str | None
    add_ons: tuple[tuple[str, int], ...]
    current_period_start: datetime
    current_period_end: datetime
    billing_anchor: datetime
    trial_ends_at: datetime | None
    cancel_at_period_end: bool
    ends_at: datetime | None
    paid_until: datetime | None

    def facts(self, number: int) -> SubscriptionFacts:
        """Return what entitlements are derived from."""
        return SubscriptionFacts(
            id=number,
            status=SubscriptionStatus(self.status),
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


def subscriptions(stripe: SimulatedStripe) -> dict[str, Held]:
    """Return every subscription that Stripe holds."""
    return {one["id"]: _held(stripe, one) for one in stripe.all("subscription")}


def payer(subscription: Mapping[str, Any]) -> str:
    """Return whose subscription it is, as the product calls them."""
    return str(subscription["metadata"]["headroom_customer"])


@dataclass(frozen=True)
class Billed:
    """An invoice as Stripe has it, in the record's words."""

    provider_customer: str
    subscription_id: str | None
    number: str | None
    status: str
    currency: str
    total_minor: int
    due_minor: int
    paid_minor: int
    remaining_minor: int
    attempts: int
    next_attempt_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None


def invoices(stripe: SimulatedStripe) -> dict[str, Billed]:
    """Return every invoice that Stripe holds."""
    return {
        one["id"]: Billed(
            provider_customer=one["customer"],
            subscription_id=_subscription(one),
            number=one["number"],
            status=one["status"],
            currency=one["currency"],
            total_minor=one["total"],
            due_minor=one["amount_due"],
            paid_minor=one["amount_paid"],
            remaining_minor=one["amount_remaining"],
            attempts=one["attempt_count"],
            next_attempt_at=_maybe(one["next_payment_attempt"]),
            paid_at=_maybe(one["status_transitions"]["paid_at"]),
            voided_at=_maybe(one["status_transitions"]["voided_at"]),
        )
        for one in stripe.all("invoice")
    }


def _paid_until(stripe: SimulatedStripe, subscription: str) -> datetime | None:
    """Return the last end of a period that was paid for."""
    return max(
        (
            _at(line["period"]["end"])
            for invoice in stripe.all("invoice")
            if invoice["status"] == "paid" and _subscription(invoice) == subscription
            for line in invoice["lines"]["data"]
            if (line["parent"] or {}).get("subscription_item_details")
        ),
        default=None,
    )


def _subscription(invoice: Json) -> str | None:
    details: Json = (invoice["parent"] or {}).get("subscription_details") or {}
    return details.get("subscription")


def credits_bought(stripe: SimulatedStripe) -> dict[str, tuple[int, int]]:
    """Return by checkout what was granted for a pack, and what of it was taken back."""
    found: dict[str, tuple[int, int]] = {}
    for session in stripe.all("checkout.session"):
        pack = session["metadata"].get("headroom_pack")
        if pack is None or session["payment_status"] != "paid":
            continue
        units = PACKS[pack] * int(session["metadata"]["headroom_quantity"])
        found[session["id"]] = (units, _taken(stripe, session["payment_intent"], units))
    return found


def _taken(stripe: SimulatedStripe, payment: str, units: int) -> int:
    disputes = stripe.all("dispute", payment_intent=payment)
    if any(one["status"] in _STANDING for one in disputes):
        return units
    paid = stripe.get(payment)["amount"]
    refunds = stripe.all("refund", payment_intent=payment)
    back = sum(one["amount"] for one in refunds if one["status"] == "succeeded")
    return int(units * back // paid)


def _held(stripe: SimulatedStripe, said: Mapping[str, Any]) -> Held:
    items = said["items"]["data"]
    leading = next((i for i in items if i["price"]["lookup_key"] in PLANS), items[0])
    price = leading["price"]["lookup_key"]
    add_ons = {
        ADD_ONS[i["price"]["lookup_key"]]: i["quantity"]
        for i in items
        if i["price"]["lookup_key"] in ADD_ONS
    }
    waiting = (said["pending_update"] or {}).get("subscription_items") or []
    pending = [PLANS[k] for i in waiting if (k := i["price"]["lookup_key"]) in PLANS]
    ended = said["ended_at"] if said["ended_at"] is not None else said["cancel_at"]
    return Held(
        id=said["id"],
        customer=said["customer"],
        payer=payer(said),
        status=said["status"],
        plan=PLANS.get(price),
        price=price if price in PLANS else None,
        pending_plan=pending[0] if pending else None,
        add_ons=tuple(sorted(add_ons.items())),
        current_period_start=_at(leading["current_period_start"]),
        current_period_end=_at(leading["current_period_end"]),
        billing_anchor=_at(said["billing_cycle_anchor"]),
        trial_ends_at=_maybe(said["trial_end"]),
        cancel_at_period_end=said["cancel_at_period_end"],
        ends_at=_maybe(ended),
        paid_until=_paid_until(stripe, said["id"]),
    )


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _maybe(second: int | None) -> datetime | None:
    return None if second is None else _at(second)
