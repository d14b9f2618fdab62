"""Payments as requests read and cancel them."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import charging
from tests.stripe_sim.catalog import only
from tests.stripe_sim.errors import Refused
from tests.stripe_sim.listing import page_of
from tests.stripe_sim.routes import Asked, route

Json = dict[str, Any]


@route("GET", "/v1/payment_intents/*")
def read_intent(asked: Asked) -> Json:
    """Read a payment."""
    return asked.world.store.get("payment_intent", asked.id)


@route("GET", "/v1/payment_intents")
def list_intents(asked: Asked) -> Json:
    """List payments."""
    return page_of(asked, "payment_intent", "/v1/payment_intents", apart=("customer",))


@route("POST", "/v1/payment_intents/*/cancel")
def cancel_intent(asked: Asked) -> Json:
    """Cancel a payment that was not made."""
    only(asked.params, {"cancellation_reason"})
    intent = asked.world.store.get("payment_intent", asked.id)
    if intent["status"] in ("succeeded", "canceled"):
        raise Refused(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    charging.cancel(
        asked.world, intent, asked.params.get("cancellation_reason", "requested_by_customer")
    )
    return intent
