"""Charges, refunds and disputes."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.catalog import only
from tests.stripe_sim.errors import Refused, lacking
from tests.stripe_sim.listing import page_of
from tests.stripe_sim.params import merged, number
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.world import World

Json = dict[str, Any]

_GONE = ("failed", "canceled")


@route("GET", "/v1/charges/*")
def read_charge(asked: Asked) -> Json:
    """Read a charge."""
    return asked.world.store.get("charge", asked.id)


@route("GET", "/v1/charges")
def list_charges(asked: Asked) -> Json:
    """List charges."""
    return page_of(asked, "charge", "/v1/charges", apart=("payment_intent", "customer"))


@route("POST", "/v1/refunds")
def create_refund(asked: Asked) -> Json:
    """Give a payment back, whole or in part."""
    world, params = asked.world, asked.params
    only(params, {"charge", "payment_intent", "amount", "reason", "metadata"})
    charge = _charge(world, params)
    left = charge["amount"] - charge["amount_refunded"]
    amount = number(params, "amount", left) or left
    if not left:
        raise Refused(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if charge["disputed"]:
        raise Refused(f"Charge {charge['id']} is disputed.", code="charge_disputed")
    if not 0 < amount <= left:
        raise Refused(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
            param="amount",
        )
    made = world.make(
        "refund",
        "re",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        metadata=merged({}, params),
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
        status="succeeded",
    )
    world.events.emit("refund.created", made)
    with world.events.changing(charge, "charge.refunded"):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    return made


def _charge(world: World, params: Json) -> Json:
    if "charge" in params:
        return world.store.get("charge", params["charge"], "charge")
    if "payment_intent" not in params:
        raise lacking("payment_intent")
    intent = world.store.get("payment_intent", params["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        raise Refused(
            "This PaymentIntent does not have a successful charge to refund.",
            param="payment_intent",
        )
    return world.store.get("charge", intent["latest_charge"])


def fail_refund(world: World, refund_id: str) -> Json:
    """Let a bank send a refund back: the money is not the customer's."""
    refund = world.store.get("refund", refund_id)
    charge = world.store.get("charge", refund["charge"])
    if refund["status"] not in _GONE:
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
    refund |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
    world.events.emit("refund.failed", refund)
    return refund


@route("GET", "/v1/refunds/*")
def read_refund(asked: Asked) -> Json:
    """Read a refund."""
    return asked.world.store.get("refund", asked.id)


@route("POST", "/v1/refunds/*")
def update_refund(asked: Asked) -> Json:
    """Change a refund's metadata."""
    only(asked.params, {"metadata"})
    refund = asked.world.store.get("refund", asked.id)
    with asked.world.events.changing(refund, "refund.updated"):
        refund["metadata"] = merged(refund["metadata"], asked.params)
    return refund


@route("GET", "/v1/refunds")
def list_refunds(asked: Asked) -> Json:
    """List refunds."""
    return page_of(asked, "refund", "/v1/refunds", apart=("charge", "payment_intent"))


def open_dispute(world: World, charge_id: str, amount: int | None = None) -> Json:
    """Let a cardholder dispute a charge."""
    charge = world.store.get("charge", charge_id)
    charge["disputed"] = True
    made = world.make(
        "dispute",
        "dp",
        amount=amount or charge["amount"],
        charge=charge_id,
        currency=charge["currency"],
        metadata={},
        payment_intent=charge["payment_intent"],
        reason="fraudulent",
        status="needs_response",
    )
    world.events.emit("charge.dispute.created", made)
    world.events.emit("charge.dispute.funds_withdrawn", made)
    return made


def close_dispute(world: World, dispute_id: str, status: str) -> Json:
    """Let a bank decide a dispute: ``won`` or ``lost``."""
    dispute = world.store.get("dispute", dispute_id)
    dispute["status"] = status
    if status == "won":
        world.events.emit("charge.dispute.funds_reinstated", dispute)
    world.events.emit("charge.dispute.closed", dispute)
    return dispute


@route("GET", "/v1/disputes/*")
def read_dispute(asked: Asked) -> Json:
    """Read a dispute."""
    return asked.world.store.get("dispute", asked.id)


@route("GET", "/v1/disputes")
def list_disputes(asked: Asked) -> Json:
    """List disputes."""
    return page_of(asked, "dispute", "/v1/disputes", apart=("charge", "payment_intent"))
