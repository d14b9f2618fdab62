"""A subscription's course in time: trial, renewal, end, and what expires on the way."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.stripe_sim import invoicing, lines, schedules
from tests.stripe_sim.billing import OVER, UPDATED, bill, end, expire_first, settle
from tests.stripe_sim.planning import period_of
from tests.stripe_sim.timeline import DAY
from tests.stripe_sim.world import World

Json = dict[str, Any]

HOURS_FOR_FIRST_PAYMENT = 23
WARNING = 3 * DAY


def watch(world: World, subscription: Json) -> None:
    """Wake up for all that falls due for a subscription as it is now."""
    if subscription["status"] in OVER:
        return
    name = subscription["id"]
    whens = {item["current_period_end"] for item in subscription["items"]["data"]}
    whens.add(subscription["cancel_at"])
    if subscription["status"] == "incomplete":
        whens = {subscription["created"] + HOURS_FOR_FIRST_PAYMENT * 3600}
    if subscription["trial_end"] and subscription["trial_end"] > world.now:
        _warn(world, subscription)
        whens |= {subscription["trial_end"] - WARNING, subscription["trial_end"]}
    if subscription["pending_update"]:
        whens.add(subscription["pending_update"]["expires_at"])
    schedule = world.store.find("subscription_schedule", subscription["schedule"])
    if schedule is not None and schedule["current_phase"]:
        whens.add(schedule["current_phase"]["end_date"])
    for when in sorted(when for when in whens if when and when > world.now):
        if (name, when) not in world.watched:
            world.watched.add((name, when))
            world.at(when, partial(_wake, world, name, when))


def _wake(world: World, name: str, when: int) -> None:
    world.watched.discard((name, when))
    subscription = world.store.get("subscription", name)
    if subscription["status"] in OVER:
        return
    _due(world, subscription)
    watch(world, subscription)


def _due(world: World, subscription: Json) -> None:
    now = world.now
    if subscription["status"] == "incomplete":
        if subscription["created"] + HOURS_FOR_FIRST_PAYMENT * 3600 <= now:
            expire_first(world, subscription)
        return
    _warn(world, subscription)
    _expire_update(world, subscription)
    if subscription["cancel_at"] is not None and subscription["cancel_at"] <= now:
        end(world, subscription, "cancellation_requested")
        return
    if not schedules.turn(world, subscription):
        return
    if subscription["status"] == "trialing":
        if subscription["trial_end"] <= now:
            _trial_over(world, subscription)
    elif subscription["status"] != "paused":
        _renew(world, subscription)


def _warn(world: World, subscription: Json) -> None:
    over = subscription["trial_end"]
    key = (subscription["id"], -(over or 0))
    if (
        subscription["status"] == "trialing"
        and over - WARNING <= world.now
        and key not in world.watched
    ):
        world.watched.add(key)
        world.events.emit("customer.subscription.trial_will_end", subscription)


def _expire_update(world: World, subscription: Json) -> None:
    pending = subscription["pending_update"]
    if pending is None or pending["expires_at"] > world.now:
        return
    _, invoice = world.plans.pop(subscription["id"])
    subscription["pending_update"] = None
    world.events.emit("customer.subscription.pending_update_expired", subscription)
    if invoice["status"] == "open":
        invoicing.void(world, invoice)


def _trial_over(world: World, subscription: Json) -> None:
    settings = subscription["trial_settings"] or {}
    without = settings.get("end_behavior", {}).get("missing_payment_method", "create_invoice")
    if without != "create_invoice" and not invoicing.has_method(world, subscription):
        if without == "cancel":
            end(world, subscription, "payment_failed")
            return
        with world.events.changing(subscription, UPDATED):
            subscription["status"] = "paused"
        world.events.emit("customer.subscription.paused", subscription)
        return
    begin_cycle(world, subscription, subscription["trial_end"], "subscription_cycle")


def begin_cycle(world: World, subscription: Json, at: int, reason: str) -> Json:
    """Begin a new cycle at an instant, with an invoice; the draft waits as a renewal's does."""
    items = subscription["items"]["data"]
    old = (items[0]["current_period_start"], at)
    with world.events.changing(subscription, UPDATED):
        subscription |= {"status": "active", "billing_cycle_anchor": at}
        _move(subscription, items, at)
    made = [lines.of_period(world, subscription, i) for i in subscription["items"]["data"]]
    invoice = bill(world, subscription, made, reason, old)
    _settle_later(world, subscription, invoice)
    return invoice


def _renew(world: World, subscription: Json) -> None:
    """Renew all items whose period is over."""
    items = subscription["items"]["data"]
    over = [item for item in items if item["current_period_end"] <= world.now]
    if not over:
        return
    old = (over[0]["current_period_start"], over[0]["current_period_end"])
    with world.events.changing(subscription, UPDATED):
        _move(subscription, over, None)
    renewed = {item["id"] for item in over}
    current = [i for i in subscription["items"]["data"] if i["id"] in renewed]
    made = [lines.of_period(world, subscription, item) for item in current]
    invoice = bill(world, subscription, made, "subscription_cycle", old)
    _settle_later(world, subscription, invoice)


def bill_again(world: World, subscription: Json) -> Json:
    """Ask for the present period a second time, as nobody should."""
    items = subscription["items"]["data"]
    period = (items[0]["current_period_start"], items[0]["current_period_end"])
    made = [lines.of_period(world, subscription, item) for item in items]
    invoice = bill(world, subscription, made, "subscription_cycle", period)
    _settle_later(world, subscription, invoice)
    return invoice


def _move(subscription: Json, items: list[Json], at: int | None) -> None:
    moved = []
    names = {item["id"] for item in items}
    for item in subscription["items"]["data"]:
        begin = item["current_period_end"] if at is None else at
        start, over = period_of(subscription["billing_cycle_anchor"], item["price"], begin)
        edges = {"current_period_start": start, "current_period_end": over}
        moved.append(item | edges if item["id"] in names else item)
    subscription["items"] = subscription["items"] | {"data": moved}


def _settle_later(world: World, subscription: Json, invoice: Json) -> None:
    paused = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or paused:
        invoice["auto_advance"] = False
        if paused and paused["behavior"] == "void":
            invoicing.void(world, invoice)
        if paused and paused["behavior"] == "mark_uncollectible":
            invoicing.finalise(world, invoice)
            invoicing.give_up(world, invoice)
        return
    when = world.now + world.draft_seconds
    invoice["automatically_finalizes_at"] = when
    world.at(when, lambda: _finalise(world, invoice))


def _finalise(world: World, invoice: Json) -> None:
    if invoice["status"] == "draft" and invoice["auto_advance"]:
        settle(world, invoice)
