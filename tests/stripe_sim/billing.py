"""What a subscription's invoices do to it: its first, its changes, its renewals, its failures."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim import invoicing
from tests.stripe_sim.cards import OK
from tests.stripe_sim.discounting import outlived
from tests.stripe_sim.planning import Plan, item_list
from tests.stripe_sim.world import World

Json = dict[str, Any]

UPDATED = "customer.subscription.updated"
OVER = ("canceled", "incomplete_expired")


def bill(
    world: World,
    subscription: Json,
    lines: list[Json],
    reason: str,
    period: tuple[int, int] | None = None,
) -> Json:
    """Hold the draft of a subscription's invoice over these lines and those that waited."""
    waiting = world.prorations.pop(subscription["id"], [])
    customer = world.store.get("customer", subscription["customer"])
    made = invoicing.drawn_up(
        world,
        customer,
        waiting + lines,
        reason=reason,
        currency=subscription["currency"],
        subscription=subscription,
        period=period,
        invoice_id=world.name("in"),
    )
    invoicing.hold(world, made)
    with world.events.changing(subscription, UPDATED):
        subscription["latest_invoice"] = made["id"]
        subscription["discounts"] = outlived(world, subscription)
    return made


def settle(world: World, invoice: Json, method: str | None = None) -> str:
    """Finalise an invoice, take its payment or send it, and let its subscription follow."""
    if invoice["status"] == "draft":
        invoicing.finalise(world, invoice)
    if invoice["status"] == "open" and invoice["collection_method"] == "send_invoice":
        invoicing.send(world, invoice)
        world.at(invoice["due_date"], lambda: _overdue(world, invoice))
        return OK
    code = invoicing.collect(world, invoice, method)
    follow(world, invoice, code)
    return code


def follow(world: World, invoice: Json, code: str) -> None:
    """Let the subscription of an invoice be what its payment makes of it."""
    subscription = invoicing.subscription_of(world, invoice)
    if subscription is None or subscription["status"] in OVER:
        return
    if code == OK:
        _paid(world, subscription, invoice)
    elif subscription["id"] in world.plans and world.plans[subscription["id"]][1] is invoice:
        return
    else:
        _failed(world, subscription, invoice)


def _paid(world: World, subscription: Json, invoice: Json) -> None:
    held = world.plans.get(subscription["id"])
    if held is not None and held[1] is invoice:
        del world.plans[subscription["id"]]
        with world.events.changing(subscription, UPDATED):
            subscription["pending_update"] = None
            put(subscription, held[0])
        world.events.emit("customer.subscription.pending_update_applied", subscription)
    open_still = [
        one
        for one in world.billed.get(subscription["id"], [])
        if world.store.get("invoice", one)["status"] == "open" and one != invoice["id"]
    ]
    customer = world.store.get("customer", subscription["customer"])
    if customer["delinquent"] and not open_still:
        with world.events.changing(customer, "customer.updated"):
            customer["delinquent"] = False
    paid_latest = subscription["latest_invoice"] == invoice["id"]
    if subscription["status"] in ("incomplete", "past_due", "unpaid") and (
        paid_latest or not open_still
    ):
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "active"
    elif subscription["status"] == "paused" and paid_latest:
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "active"
        world.events.emit("customer.subscription.resumed", subscription)


def put(subscription: Json, plan: Plan) -> None:
    """Make a change that was planned."""
    subscription["items"] = item_list(subscription["id"], plan.items)
    if plan.anchor is not None:
        subscription["billing_cycle_anchor"] = plan.anchor


def _failed(world: World, subscription: Json, invoice: Json) -> None:
    customer = world.store.get("customer", subscription["customer"])
    if subscription["status"] in ("incomplete", "paused"):
        return
    if not customer["delinquent"]:
        with world.events.changing(customer, "customer.updated"):
            customer["delinquent"] = True
    if subscription["status"] == "active":
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "past_due"
    tried = invoice["attempt_count"]
    if tried <= len(world.retry_days):
        when = world.in_days(world.retry_days[tried - 1])
        with world.events.changing(invoice, "invoice.updated"):
            invoice["next_payment_attempt"] = when
        world.at(when, lambda: _retry(world, invoice, when))
        return
    with world.events.changing(invoice, "invoice.updated"):
        invoice["next_payment_attempt"] = None
    _in_vain(world, subscription)


def _retry(world: World, invoice: Json, when: int) -> None:
    if invoice["status"] == "open" and invoice["next_payment_attempt"] == when:
        follow(world, invoice, invoicing.collect(world, invoice))


def _in_vain(world: World, subscription: Json) -> None:
    if world.after_retries == "cancel":
        end(world, subscription, "payment_failed")
    elif world.after_retries == "unpaid":
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "unpaid"


def _overdue(world: World, invoice: Json) -> None:
    if invoice["status"] != "open":
        return
    world.events.emit("invoice.overdue", invoice)
    subscription = invoicing.subscription_of(world, invoice)
    if subscription is not None and subscription["status"] == "active":
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "past_due"


def end(world: World, subscription: Json, reason: str) -> None:
    """End a subscription now. Its open invoices are no longer collected."""
    subscription |= {
        "status": "canceled",
        "canceled_at": subscription["canceled_at"] or world.now,
        "ended_at": world.now,
        "cancellation_details": {**(subscription["cancellation_details"] or {}), "reason": reason},
        "pending_update": None,
    }
    world.prorations.pop(subscription["id"], None)
    plan = world.plans.pop(subscription["id"], None)
    if plan is not None and plan[1]["status"] == "open":
        invoicing.void(world, plan[1])
    for name in world.billed.get(subscription["id"], []):
        invoice = world.store.get("invoice", name)
        if invoice["status"] in ("draft", "open") and invoice["auto_advance"]:
            with world.events.changing(invoice, "invoice.updated"):
                invoice |= {"auto_advance": False, "next_payment_attempt": None}
    schedule = world.store.find("subscription_schedule", subscription["schedule"])
    if schedule is not None and schedule["status"] in ("active", "not_started"):
        schedule |= {"status": "canceled", "canceled_at": world.now, "current_phase": None}
        aborted = reason == "payment_failed"
        told = "subscription_schedule.aborted" if aborted else "subscription_schedule.canceled"
        world.events.emit(told, schedule)
    world.events.emit("customer.subscription.deleted", subscription)


def expire_first(world: World, subscription: Json) -> None:
    """Let a subscription end whose first payment never came."""
    invoice = world.store.find("invoice", subscription["latest_invoice"])
    with world.events.changing(subscription, UPDATED):
        subscription |= {"status": "incomplete_expired", "ended_at": world.now}
    if invoice is not None and invoice["status"] == "open":
        invoicing.void(world, invoice)
