"""Subscriptions as requests make, change, cancel and resume them."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import invoicing, lines
from tests.stripe_sim.billing import OVER, UPDATED, bill, end, put, settle
from tests.stripe_sim.cards import OK
from tests.stripe_sim.catalog import only
from tests.stripe_sim.customers import attach, living
from tests.stripe_sim.cycle import begin_cycle, watch
from tests.stripe_sim.discounting import applied
from tests.stripe_sim.errors import Refused, declined, invalid
from tests.stripe_sim.listing import page_of, searched
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.planning import PRORATIONS, Plan, item_list, new_item, period_of, planned
from tests.stripe_sim.pricing import sold_in
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import new
from tests.stripe_sim.timeline import DAY
from tests.stripe_sim.world import World

Json = dict[str, Any]

_BEHAVIOURS = (
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete",
)  # fmt: skip
_SHARED = {
    "items", "metadata", "default_payment_method", "payment_behavior", "proration_behavior",
    "cancel_at_period_end", "cancel_at", "discounts", "collection_method", "days_until_due",
    "trial_end", "trial_settings", "description", "payment_settings", "off_session",
    "billing_cycle_anchor",
}  # fmt: skip
_CREATE = _SHARED | {"customer", "trial_period_days", "currency", "billing_mode"}
_UPDATE = _SHARED | {"proration_date", "pause_collection", "cancellation_details"}
_PENDING = {
    "items", "payment_behavior", "proration_behavior", "proration_date", "billing_cycle_anchor",
    "trial_end", "off_session",
}  # fmt: skip
_WORDS = ("charge_automatically", "send_invoice")


@route("POST", "/v1/subscriptions")
def create_subscription(asked: Asked) -> Json:
    """Make a subscription, bill its first period and take the payment, unless it is a trial."""
    only(asked.params, _CREATE)
    return made_subscription(asked.world, asked.params)


def made_subscription(world: World, params: Json) -> Json:
    """Hold a new subscription. Raises: Refused."""
    customer = living(world, need(params, "customer"))
    need(params, "items")
    behaviour = one_of(params, "payment_behavior", _BEHAVIOURS[:3], "allow_incomplete")
    trial = _trial_end(world, params)
    made = _blank(world, customer, params, trial)
    first = [new_item(world, made["id"], one, (world.now, world.now)) for one in params["items"]]
    for item in first:
        over = trial or period_of(world.now, item["price"], world.now)[1]
        item["current_period_end"] = over
    currency = str(params.get("currency", first[0]["price"]["currency"])).lower()
    if not all(sold_in(world, item["price"], currency) for item in first):
        raise Refused(f"A price has no amount in {currency}.", param="currency")
    made |= {
        "currency": currency,
        "items": item_list(made["id"], first),
    }
    if params.get("default_payment_method"):
        method = attach(world, params["default_payment_method"], customer["id"])
        made["default_payment_method"] = method["id"]
    made["discounts"] = applied(
        world, params.get("discounts", ""), customer=customer["id"], subscription=made["id"]
    )
    world.store.add(made)
    world.events.emit("customer.subscription.created", made)
    _bill_first(world, made, behaviour)
    watch(world, made)
    return made


def _blank(world: World, customer: Json, params: Json, trial: int | None) -> Json:
    settings = params.get("trial_settings", {}).get("end_behavior", {})
    return new(
        "subscription",
        id=world.name("sub"),
        billing_cycle_anchor=trial or world.now,
        billing_mode={"flexible": None, "type": "flexible", "updated_at": None},
        cancel_at_period_end=False,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method=one_of(params, "collection_method", _WORDS, _WORDS[0]),
        created=world.now,
        customer=customer["id"],
        days_until_due=number(params, "days_until_due"),
        default_tax_rates=[],
        description=params.get("description"),
        metadata=merged({}, params),
        start_date=world.now,
        status="trialing" if trial else "incomplete",
        trial_end=trial,
        trial_settings={
            "end_behavior": {
                "missing_payment_method": settings.get("missing_payment_method", "create_invoice")
            }
        },
        trial_start=world.now if trial else None,
    )


def _trial_end(world: World, params: Json) -> int | None:
    if params.get("trial_end") == "now":
        return None
    until = number(params, "trial_end")
    days = number(params, "trial_period_days")
    if until is None and days:
        until = world.now + days * DAY
    if until is not None and until <= world.now:
        raise invalid("Timestamp must be an integer in the future.", "trial_end")
    return until


def _bill_first(world: World, made: Json, behaviour: str) -> None:
    free = made["status"] == "trialing"
    due = [lines.of_period(world, made, i, free=free) for i in made["items"]["data"]]
    invoice = bill(world, made, due, "subscription_create")
    if behaviour == "default_incomplete" and not free:
        invoicing.finalise(world, invoice)
        if invoice["status"] == "paid":
            settle(world, invoice)
        return
    if made["collection_method"] == "send_invoice" and not free:
        with world.events.changing(made, UPDATED):
            made["status"] = "active"
    code = settle(world, invoice)
    if code != OK and behaviour == "error_if_incomplete":
        world.store.drop(made)
        raise declined(code)


@route("GET", "/v1/subscriptions/search")
def search_subscriptions(asked: Asked) -> Json:
    """Search subscriptions."""
    return searched(asked, "subscription", "/v1/subscriptions/search")


@route("GET", "/v1/subscriptions/*")
def read_subscription(asked: Asked) -> Json:
    """Read a subscription."""
    return asked.world.store.get("subscription", asked.id)


@route("GET", "/v1/subscriptions")
def list_subscriptions(asked: Asked) -> Json:
    """List subscriptions; without a status, those that are not over."""
    status, price = asked.params.get("status"), asked.params.get("price")

    def fits(one: Json) -> bool:
        if price is not None and all(i["price"]["id"] != price for i in one["items"]["data"]):
            return False
        if status in (None, ""):
            return bool(one["status"] != "canceled")
        if status == "ended":
            return bool(one["status"] in OVER)
        return bool(status in ("all", one["status"]))

    return page_of(
        asked,
        "subscription",
        "/v1/subscriptions",
        apart=("customer",),
        same=("collection_method",),
        other=("status", "price"),
        fits=fits,
    )


@route("POST", "/v1/subscriptions/*")
def update_subscription(asked: Asked) -> Json:
    """Change a subscription, now."""
    only(asked.params, _UPDATE)
    return changed(asked.world, asked.world.store.get("subscription", asked.id), asked.params)


def changed(world: World, subscription: Json, params: Json) -> Json:
    """Make a change that a request asks for. Raises: Refused."""
    if subscription["status"] in OVER:
        raise Refused(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="resource_missing",
        )
    if subscription["schedule"] is not None and (
        "cancel_at_period_end" in params or "cancel_at" in params
    ):
        raise Refused(
            "The subscription is managed by the subscription schedule "
            f"`{subscription['schedule']}`, and updating any cancelation behavior directly is not "
            "allowed. Please update the schedule instead."
        )
    behaviour = one_of(params, "payment_behavior", _BEHAVIOURS, "allow_incomplete")
    one_of(params, "proration_behavior", PRORATIONS, "create_prorations")
    if behaviour == "pending_if_incomplete" and (odd := sorted(set(params) - _PENDING)):
        raise Refused(
            "When `payment_behavior` is set to `pending_if_incomplete`, you can only pass "
            f"supported params. The following parameters are not supported: {', '.join(odd)}.",
            param=odd[0],
        )
    plan = planned(world, subscription, params)
    if plan.bill_now and plan.changed:
        _bill_change(world, subscription, plan, behaviour)
    else:
        with world.events.changing(subscription, UPDATED):
            put(subscription, plan)
            world.prorations.setdefault(subscription["id"], []).extend(plan.lines)
            _write(world, subscription, params)
    if params.get("trial_end"):
        _move_trial(world, subscription, params)
    if plan.bill_now:
        with world.events.changing(subscription, UPDATED):
            _write(world, subscription, params)
    watch(world, subscription)
    return subscription


def _bill_change(world: World, subscription: Json, plan: Plan, behaviour: str) -> None:
    """Bill a change at once. A payment that fails leaves it pending, refused or made, as asked."""
    if subscription["id"] in world.plans:
        _, old = world.plans.pop(subscription["id"])
        invoicing.void(world, old)
        subscription["pending_update"] = None
    if behaviour in ("pending_if_incomplete", "error_if_incomplete"):
        before = subscription["latest_invoice"]
        invoice = bill(world, subscription, plan.lines, "subscription_update")
        world.plans[subscription["id"]] = (plan, invoice)
        if settle(world, invoice) == OK:
            return
        if behaviour == "error_if_incomplete":
            del world.plans[subscription["id"]]
            subscription["latest_invoice"] = before
            invoicing.void(world, invoice)
            raise declined("card_declined", invoicing.payment_of(world, invoice))
        with world.events.changing(subscription, UPDATED):
            subscription["pending_update"] = _pending(world, subscription, plan)
        return
    with world.events.changing(subscription, UPDATED):
        put(subscription, plan)
    settle(world, bill(world, subscription, plan.lines, "subscription_update"))


def _pending(world: World, subscription: Json, plan: Plan) -> Json:
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    return {
        "billing_cycle_anchor": plan.anchor,
        "expires_at": min(world.now + 23 * 3600, *ends),
        "subscription_items": plan.items,
        "trial_end": None,
        "trial_from_plan": None,
    }


def _write(world: World, subscription: Json, params: Json) -> None:
    subscription["metadata"] = merged(subscription["metadata"], params)
    if "discounts" in params:
        subscription["discounts"] = applied(
            world,
            params["discounts"],
            customer=subscription["customer"],
            subscription=subscription["id"],
        )
    if params.get("default_payment_method"):
        method = attach(world, params["default_payment_method"], subscription["customer"])
        subscription["default_payment_method"] = method["id"]
    for name in ("description", "collection_method"):
        subscription[name] = params.get(name, subscription[name])
    if "days_until_due" in params:
        subscription["days_until_due"] = number(params, "days_until_due")
    if "pause_collection" in params:
        said = params["pause_collection"] or None
        subscription["pause_collection"] = said and {
            "behavior": said["behavior"],
            "resumes_at": number(said, "resumes_at"),
        }
    _write_end(world, subscription, params)


def _write_end(world: World, subscription: Json, params: Json) -> None:
    details = dict(subscription["cancellation_details"] or {})
    details |= params.get("cancellation_details", {})
    if "cancel_at_period_end" in params:
        wanted = truth(params, "cancel_at_period_end")
        over = max(item["current_period_end"] for item in subscription["items"]["data"])
        if wanted != subscription["cancel_at_period_end"]:
            details["reason"] = "cancellation_requested" if wanted else None
            subscription |= {
                "cancel_at_period_end": wanted,
                "cancel_at": over if wanted else None,
                "canceled_at": world.now if wanted else None,
            }
    elif "cancel_at" in params:
        when = number(params, "cancel_at")
        details["reason"] = "cancellation_requested" if when else None
        subscription |= {"cancel_at": when, "canceled_at": world.now if when else None}
    subscription["cancellation_details"] = details


def _move_trial(world: World, subscription: Json, params: Json) -> None:
    if params["trial_end"] == "now":
        if subscription["status"] == "trialing":
            subscription["trial_end"] = world.now
            invoice = begin_cycle(world, subscription, world.now, "subscription_update")
            settle(world, invoice)
        return
    until = _trial_end(world, params)
    with world.events.changing(subscription, UPDATED):
        subscription |= {
            "status": "trialing",
            "trial_start": subscription["trial_start"] or world.now,
            "trial_end": until,
            "billing_cycle_anchor": until,
        }
        edges = {"current_period_end": until}
        items = [item | edges for item in subscription["items"]["data"]]
        subscription["items"] = item_list(subscription["id"], items)


@route("DELETE", "/v1/subscriptions/*")
def cancel_subscription(asked: Asked) -> Json:
    """End a subscription now; ``prorate`` gives unused time back, ``invoice_now`` bills it."""
    world, params = asked.world, asked.params
    only(params, {"prorate", "invoice_now", "cancellation_details"})
    subscription = world.store.get("subscription", asked.id)
    if subscription["status"] in OVER:
        raise Refused(
            f"No such subscription: '{asked.id}'", status=404, code="resource_missing", param="id"
        )
    if truth(params, "prorate") and subscription["status"] in ("active", "past_due"):
        back = [
            lines.prorated(world, subscription, item, at=world.now, sign=-1)
            for item in subscription["items"]["data"]
        ]
        world.prorations.setdefault(subscription["id"], []).extend(back)
    if truth(params, "invoice_now") and world.prorations.get(subscription["id"]):
        settle(world, bill(world, subscription, [], "subscription_update"))
    details = {**(subscription["cancellation_details"] or {})}
    subscription["cancellation_details"] = details | params.get("cancellation_details", {})
    subscription["cancel_at_period_end"] = False
    end(world, subscription, "cancellation_requested")
    return subscription


@route("POST", "/v1/subscriptions/*/resume")
def resume_subscription(asked: Asked) -> Json:
    """Let a paused subscription go on with a new cycle; it is active once that is paid."""
    world = asked.world
    only(asked.params, {"billing_cycle_anchor", "proration_behavior", "proration_date"})
    subscription = world.store.get("subscription", asked.id)
    if subscription["status"] != "paused":
        raise Refused("Only paused subscriptions can be resumed.", param="id")
    for item in subscription["items"]["data"]:
        start, over = period_of(world.now, item["price"], world.now)
        item |= {"current_period_start": start, "current_period_end": over}
    subscription["billing_cycle_anchor"] = world.now
    due = [lines.of_period(world, subscription, i) for i in subscription["items"]["data"]]
    settle(world, bill(world, subscription, due, "subscription_update"))
    watch(world, subscription)
    return subscription
