"""Checkout sessions: a request opens one, a test completes it, fails it or lets it expire."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import charging
from tests.stripe_sim.cards import OK
from tests.stripe_sim.catalog import create_price, only
from tests.stripe_sim.customers import attach, living, made_customer, made_method, use_card
from tests.stripe_sim.errors import Refused, invalid
from tests.stripe_sim.listing import page_of, page_within
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import new
from tests.stripe_sim.subscriptions import made_subscription
from tests.stripe_sim.timeline import DAY
from tests.stripe_sim.world import World

Json = dict[str, Any]

_NAMES = {
    "mode", "line_items", "customer", "customer_email", "client_reference_id", "success_url",
    "cancel_url", "return_url", "metadata", "subscription_data", "payment_intent_data",
    "allow_promotion_codes", "discounts", "expires_at", "ui_mode", "locale", "customer_creation",
    "payment_method_collection", "payment_method_types", "currency", "setup_intent_data",
    "billing_address_collection", "automatic_tax", "tax_id_collection", "customer_update",
    "saved_payment_method_options", "submit_type", "invoice_creation",
}  # fmt: skip
_MODES = ("subscription", "payment", "setup")


@route("POST", "/v1/checkout/sessions")
def create_session(asked: Asked) -> Json:
    """Open a session."""
    world, params = asked.world, asked.params
    only(params, _NAMES)
    need(params, "mode")
    mode = one_of(params, "mode", _MODES, "")
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    need(params, "success_url" if hosted else "return_url")
    if params.get("customer"):
        living(world, params["customer"])
    sold = [] if mode == "setup" else _sold(world, params, mode)
    until = number(params, "expires_at", world.now + DAY) or 0
    if not world.now + 1800 <= until <= world.now + DAY:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.",
            "expires_at",
        )
    made = _made(world, params, mode, sold, until)
    world.sold[made["id"]] = sold
    world.asked[made["id"]] = params
    world.at(until, lambda: expire(world, made))
    return made


def _made(world: World, params: Json, mode: str, sold: list[Json], until: int) -> Json:
    total = sum(line["amount_total"] for line in sold)
    made = world.make(
        "checkout.session",
        "cs_test",
        allow_promotion_codes=truth(params, "allow_promotion_codes"),
        amount_subtotal=total if sold else None,
        amount_total=total if sold else None,
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        currency=sold[0]["currency"] if sold else params.get("currency"),
        customer=params.get("customer"),
        customer_email=params.get("customer_email"),
        expires_at=until,
        metadata=merged({}, params),
        mode=mode,
        payment_method_types=["card"],
        payment_status="unpaid" if total else "no_payment_required",
        status="open",
        success_url=params.get("success_url"),
        return_url=params.get("return_url"),
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        ui_mode=params.get("ui_mode", "hosted_page"),
    )
    if made["ui_mode"] == "hosted_page":
        made["url"] = f"https://checkout.stripe.com/c/pay/{made['id']}"
    else:
        made["client_secret"] = f"{made['id']}_secret"
    return made


def _sold(world: World, params: Json, mode: str) -> list[Json]:
    made = []
    trial = params.get("subscription_data", {})
    free = "trial_period_days" in trial or "trial_end" in trial
    for at, said in enumerate(need(params, "line_items")):
        if "price_data" in said:
            price = create_price(Asked(world, (), said["price_data"]))
        else:
            price = world.store.get("price", need(said, "price"), f"line_items[{at}][price]")
        if mode == "payment" and price["recurring"] is not None:
            raise Refused(
                "You specified `payment` mode but passed a recurring price.",
                param="line_items",
            )
        if not price["active"]:
            raise Refused("The price specified is inactive.", param=f"line_items[{at}][price]")
        quantity = number(said, "quantity", 1) or 1
        amount = 0 if free and price["recurring"] else price["unit_amount"] * quantity
        made.append(
            new(
                "item",
                id=world.name("li"),
                amount_subtotal=amount,
                amount_total=amount,
                currency=price["currency"],
                description=price["product"],
                price=price,
                quantity=quantity,
            )
        )
    if mode == "subscription" and not any(one["price"]["recurring"] for one in made):
        raise Refused(
            "You must provide at least one recurring price in `subscription` mode.",
            param="line_items",
        )
    return made


def complete(
    world: World,
    session_id: str,
    *,
    card: str = OK,
    email: str = "payer@example.com",
    delayed: bool = False,
) -> Json:
    """Let a customer go through a session with a card.

    A card that fails leaves the session open, as on Stripe's page. ``delayed`` completes a payment
    whose money comes or fails later.
    """
    session = world.store.get("checkout.session", session_id)
    if session["status"] != "open":
        raise ValueError(f"the session is {session['status']}")
    params = world.asked[session_id]
    if session["customer"] is None and (
        session["mode"] != "payment" or params.get("customer_creation") == "always"
    ):
        said = {"email": session["customer_email"] or email}
        session["customer"] = made_customer(world, said)["id"]
    done = {"subscription": _subscribed, "payment": _paid, "setup": _set_up}[session["mode"]]
    if not done(world, session, params, card, delayed=delayed):
        return session
    session |= {"status": "complete", "url": None, "customer_details": _details(session, email)}
    world.events.emit("checkout.session.completed", session)
    return session


def _details(session: Json, email: str) -> Json:
    return {
        "address": None,
        "business_name": None,
        "email": session["customer_email"] or email,
        "individual_name": None,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _subscribed(world: World, session: Json, params: Json, card: str, *, delayed: bool) -> bool:
    del delayed
    customer = session["customer"]
    method = use_card(world, customer, card)
    said = dict(params.get("subscription_data", {}))
    trial = "trial_period_days" in said or "trial_end" in said
    code = OK if trial else world.cards.answer(customer, method)
    if code != OK:
        total = session["amount_total"]
        intent = charging.made_intent(world, customer, total, session["currency"])
        charging.fail(world, intent, method, code)
        return False
    sold = world.sold[session["id"]]
    items = [
        {"price": one["price"]["id"], "quantity": one["quantity"]}
        for one in sold
        if one["price"]["recurring"]
    ]
    wanted = {"customer": customer, "items": items, "default_payment_method": method, **said}
    if params.get("discounts"):
        wanted["discounts"] = params["discounts"]
    made = made_subscription(world, wanted)
    session |= {"subscription": made["id"], "invoice": made["latest_invoice"]}
    invoice = world.store.get("invoice", made["latest_invoice"])
    off = sum(one["amount"] for one in invoice["total_discount_amounts"])
    session |= {
        "amount_subtotal": invoice["subtotal"],
        "amount_total": invoice["total"],
        "total_details": session["total_details"] | {"amount_discount": off},
        "payment_status": "no_payment_required" if not invoice["total"] else "paid",
    }
    return True


def _paid(world: World, session: Json, params: Json, card: str, *, delayed: bool) -> bool:
    if not session["amount_total"]:
        return True
    data = params.get("payment_intent_data", {})
    total, customer = session["amount_total"], session["customer"]
    intent = world.store.find("payment_intent", session["payment_intent"]) or (
        charging.made_intent(world, customer, total, session["currency"], metadata=merged({}, data))
    )
    session["payment_intent"] = intent["id"]
    method = world.store.find("payment_method", card)
    method = method or attach_to(world, customer, card)
    if delayed:
        intent |= {"status": "processing", "payment_method": method["id"]}
        world.events.emit("payment_intent.processing", intent)
        return True
    if charging.pay(world, intent, method["id"]) != OK:
        return False
    session["payment_status"] = "paid"
    return True


def attach_to(world: World, customer: str | None, card: str) -> Json:
    """Return a card, given to the customer if there is one."""
    return attach(world, card, customer) if customer else made_method(world, card)


def _set_up(world: World, session: Json, params: Json, card: str, *, delayed: bool) -> bool:
    del params, delayed
    method = use_card(world, session["customer"], card)
    intent = world.make(
        "setup_intent",
        "seti",
        customer=session["customer"],
        metadata={},
        payment_method=method,
        payment_method_types=["card"],
        status="succeeded",
        usage="off_session",
    )
    session["setup_intent"] = intent["id"]
    world.events.emit("setup_intent.succeeded", intent)
    return True


def arrive(world: World, session_id: str) -> Json:
    """Let the money of a delayed payment come."""
    session = world.store.get("checkout.session", session_id)
    intent = world.store.get("payment_intent", session["payment_intent"])
    charging.succeed(world, intent, intent["payment_method"])
    session["payment_status"] = "paid"
    world.events.emit("checkout.session.async_payment_succeeded", session)
    return session


def fail_async(world: World, session_id: str) -> Json:
    """Let the money of a delayed payment never come."""
    session = world.store.get("checkout.session", session_id)
    intent = world.store.get("payment_intent", session["payment_intent"])
    charging.fail(world, intent, intent["payment_method"], "card_declined")
    world.events.emit("checkout.session.async_payment_failed", session)
    return session


def expire(world: World, session: Json) -> None:
    """Let an open session end."""
    if session["status"] == "open":
        session |= {"status": "expired", "url": None}
        world.events.emit("checkout.session.expired", session)


@route("POST", "/v1/checkout/sessions/*/expire")
def expire_session(asked: Asked) -> Json:
    """End an open session."""
    session = asked.world.store.get("checkout.session", asked.id)
    if session["status"] != "open":
        raise Refused(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of {session['status']}."
        )
    expire(asked.world, session)
    return session


@route("GET", "/v1/checkout/sessions/*/line_items")
def list_line_items(asked: Asked) -> Json:
    """List what a session sells."""
    asked.world.store.get("checkout.session", asked.id)
    url = f"/v1/checkout/sessions/{asked.id}/line_items"
    return page_within(asked, asked.world.sold[asked.id], url)


@route("GET", "/v1/checkout/sessions/*")
def read_session(asked: Asked) -> Json:
    """Read a session."""
    return asked.world.store.get("checkout.session", asked.id)


@route("GET", "/v1/checkout/sessions")
def list_sessions(asked: Asked) -> Json:
    """List sessions."""
    return page_of(
        asked,
        "checkout.session",
        "/v1/checkout/sessions",
        same=("status", "customer", "subscription", "payment_intent"),
    )
