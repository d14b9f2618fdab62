"""Payments: an intent, and a charge for each time it is tried."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.cards import AUTHENTICATES, OK
from tests.stripe_sim.shapes import new
from tests.stripe_sim.world import World

Json = dict[str, Any]


def made_intent(
    world: World,
    customer: str | None,
    amount: int,
    currency: str,
    *,
    metadata: Json | None = None,
) -> Json:
    """Make a payment that waits for a card."""
    intent = world.make(
        "payment_intent",
        "pi",
        amount=amount,
        capture_method="automatic",
        confirmation_method="automatic",
        currency=currency,
        customer=customer,
        metadata=metadata or {},
        payment_method_types=["card"],
        status="requires_payment_method",
    )
    intent["client_secret"] = f"{intent['id']}_secret"
    world.events.emit("payment_intent.created", intent)
    return intent


def pay(world: World, intent: Json, method: str | None) -> str:
    """Try a payment; return ``ok`` or the code with which it failed."""
    code = world.cards.answer(intent["customer"], method)
    if code == "missing":
        return code
    if code == AUTHENTICATES:
        intent |= {
            "status": "requires_action",
            "payment_method": method,
            "next_action": new("payment_intent")["next_action"],
        }
        world.events.emit("payment_intent.requires_action", intent)
        return code
    succeed(world, intent, method) if code == OK else fail(world, intent, method, code)
    return code


def succeed(world: World, intent: Json, method: str | None) -> None:
    """Let a payment succeed."""
    made = _charge(world, intent, method, "succeeded")
    made |= {"paid": True, "captured": True, "amount_captured": intent["amount"]}
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": made["id"],
        "payment_method": method,
        "last_payment_error": None,
        "next_action": None,
    }
    world.events.emit("charge.succeeded", made)
    world.events.emit("payment_intent.succeeded", intent)


def fail(world: World, intent: Json, method: str | None, code: str) -> None:
    """Let a payment fail with a code."""
    made = _charge(world, intent, method, "failed")
    made |= {"failure_code": "card_declined", "failure_message": "Your card was declined."}
    decline = None if code == "card_declined" else code
    intent |= {
        "status": "requires_payment_method",
        "latest_charge": made["id"],
        "payment_method": None,
        "last_payment_error": _error(made["id"], decline),
    }
    world.events.emit("charge.failed", made)
    world.events.emit("payment_intent.payment_failed", intent)


def cancel(world: World, intent: Json, reason: str) -> None:
    """Let a payment be of no use any more."""
    if intent["status"] in ("succeeded", "canceled"):
        return
    intent |= {
        "status": "canceled",
        "canceled_at": world.now,
        "cancellation_reason": reason,
        "next_action": None,
    }
    world.events.emit("payment_intent.canceled", intent)


def _charge(world: World, intent: Json, method: str | None, status: str) -> Json:
    return world.make(
        "charge",
        "ch",
        amount=intent["amount"],
        currency=intent["currency"],
        customer=intent["customer"],
        metadata=dict(intent["metadata"]),
        payment_intent=intent["id"],
        payment_method=method,
        billing_details=_nobody(),
        status=status,
    )


def _nobody() -> Json:
    blank: Json = new("charge")["billing_details"]
    return blank


def _error(charge: str, decline: str | None) -> Json:
    return {
        "charge": charge,
        "code": "card_declined",
        "decline_code": decline,
        "message": "Your card was declined.",
        "type": "card_error",
    }
