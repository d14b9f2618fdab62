"""Schedules: what a subscription is to be from the end of this period on."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.billing import UPDATED, end
from tests.stripe_sim.catalog import only
from tests.stripe_sim.errors import Refused, invalid
from tests.stripe_sim.listing import page_of
from tests.stripe_sim.params import merged, need, number, one_of
from tests.stripe_sim.planning import item_list, new_item
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import copied
from tests.stripe_sim.timeline import next_edge
from tests.stripe_sim.world import World

Json = dict[str, Any]

_ENDS = ("release", "cancel", "none", "renew")
_PHASE = {
    "items", "start_date", "end_date", "duration", "iterations", "metadata", "discounts",
    "trial_end", "proration_behavior",
}  # fmt: skip


def turn(world: World, subscription: Json) -> bool:
    """Go on to the next phase if its time has come; tell whether the subscription goes on."""
    schedule = world.store.find("subscription_schedule", subscription["schedule"])
    if schedule is None or schedule["status"] != "active":
        return True
    if schedule["current_phase"]["end_date"] > world.now:
        return True
    following = [
        p for p in schedule["phases"] if p["start_date"] >= schedule["current_phase"]["end_date"]
    ]
    if following:
        _enter(world, subscription, schedule, following[0])
        return True
    schedule |= {"current_phase": None}
    if schedule["end_behavior"] == "cancel":
        schedule |= {"status": "completed", "completed_at": world.now}
        world.events.emit("subscription_schedule.completed", schedule)
        end(world, subscription, "cancellation_requested")
        return False
    release(world, schedule)
    return True


def _enter(world: World, subscription: Json, schedule: Json, phase: Json) -> None:
    """Let a phase begin; at the end of a period nothing is prorated."""
    held = subscription["items"]["data"]
    by_price = {item["price"]["id"]: item for item in held}
    period = (held[0]["current_period_start"], held[0]["current_period_end"])
    spare = [i for i in held if i["price"]["id"] not in {p["price"] for p in phase["items"]}]
    items = []
    for said in phase["items"]:
        item = copied(by_price[said["price"]]) if said["price"] in by_price else None
        made = item or new_item(world, subscription["id"], {"price": said["price"]}, period)
        if item is None and spare:
            # A price that takes another's place takes its item too.
            made["id"] = spare.pop(0)["id"]
        items.append(made | {"quantity": said["quantity"]})
    with world.events.changing(subscription, UPDATED):
        subscription["items"] = item_list(subscription["id"], items)
        if phase["metadata"]:
            subscription["metadata"] = {**subscription["metadata"], **phase["metadata"]}
        subscription["discounts"] = _reused(subscription, phase)
    with world.events.changing(schedule, "subscription_schedule.updated"):
        schedule["current_phase"] = _edges(phase)


def _reused(subscription: Json, phase: Json) -> list[str]:
    """Return the discounts that a phase keeps: what it says, as far as that holds still."""
    said = [one["discount"] for one in phase["discounts"]]
    return [name for name in subscription["discounts"] if name in said]


def release(world: World, schedule: Json) -> None:
    """Let a subscription go on without its schedule."""
    subscription = world.store.get("subscription", schedule["subscription"])
    schedule |= {
        "status": "released",
        "released_at": world.now,
        "released_subscription": schedule["subscription"],
        "subscription": None,
        "current_phase": None,
    }
    world.events.emit("subscription_schedule.released", schedule)
    with world.events.changing(subscription, UPDATED):
        subscription["schedule"] = None


def _edges(phase: Json) -> Json:
    return {"start_date": phase["start_date"], "end_date": phase["end_date"]}


@route("POST", "/v1/subscription_schedules")
def create_schedule(asked: Asked) -> Json:
    """Put a schedule over a subscription, with its present period as the first phase."""
    world, params = asked.world, asked.params
    only(params, {"from_subscription", "metadata"})
    subscription = world.store.get("subscription", need(params, "from_subscription"))
    if subscription["schedule"] is not None:
        raise Refused(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"{subscription['schedule']}",
            param="from_subscription",
        )
    first = subscription["items"]["data"][0]
    phase = _blank_phase(
        [_item(item["price"]["id"], item["quantity"]) for item in subscription["items"]["data"]],
        first["current_period_start"],
        first["current_period_end"],
        subscription["currency"],
    )
    phase["discounts"] = [_reuse(name) for name in subscription["discounts"]]
    if subscription["status"] == "trialing":
        phase["trial_end"] = subscription["trial_end"]
    made = world.make(
        "subscription_schedule",
        "sub_sched",
        current_phase=_edges(phase),
        customer=subscription["customer"],
        end_behavior="cancel" if subscription["cancel_at_period_end"] else "release",
        metadata=merged({}, params),
        phases=[phase],
        subscription=subscription["id"],
    )
    world.events.emit("subscription_schedule.created", made)
    with world.events.changing(subscription, UPDATED):
        subscription["schedule"] = made["id"]
    _watch(world, subscription)
    return made


def _blank_phase(items: list[Json], start: int, over: int, currency: str) -> Json:
    made: Json = {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "end_date": over,
        "invoice_settings": None,
        "items": items,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }
    return made


def _reuse(discount: str) -> Json:
    return {"coupon": None, "discount": discount, "promotion_code": None}


def _item(price: str, quantity: int | None) -> Json:
    return {"discounts": [], "metadata": {}, "plan": price, "price": price, "quantity": quantity}


@route("POST", "/v1/subscription_schedules/*")
def update_schedule(asked: Asked) -> Json:
    """Write the phases anew."""
    world, params = asked.world, asked.params
    only(params, {"phases", "end_behavior", "metadata", "proration_behavior"})
    schedule = _going(world, asked.id)
    subscription = world.store.get("subscription", schedule["subscription"])
    phases = _phases(world, schedule, params["phases"]) if "phases" in params else None
    with world.events.changing(schedule, "subscription_schedule.updated"):
        schedule["metadata"] = merged(schedule["metadata"], params)
        schedule["end_behavior"] = one_of(params, "end_behavior", _ENDS, schedule["end_behavior"])
        if phases is not None:
            schedule |= {"phases": phases, "current_phase": _edges(_now(world, phases))}
    if phases is not None:
        _be(world, subscription, _now(world, phases))
    _watch(world, subscription)
    return schedule


def _now(world: World, phases: list[Json]) -> Json:
    for phase in phases:
        if phase["start_date"] <= world.now < phase["end_date"]:
            return phase
    raise invalid("No phase covers the present instant.", "phases")


def _be(world: World, subscription: Json, phase: Json) -> None:
    """Let a subscription be at once what its present phase says of discounts and of its trial."""
    discounts = _reused(subscription, phase)
    if discounts != subscription["discounts"]:
        with world.events.changing(subscription, UPDATED):
            subscription["discounts"] = discounts
    if subscription["status"] == "trialing" and phase["trial_end"] is None:
        from tests.stripe_sim.cycle import begin_cycle  # noqa: PLC0415 - a cycle turns phases, too

        subscription["trial_end"] = world.now
        begin_cycle(world, subscription, world.now, "subscription_update")


def _phases(world: World, schedule: Json, said: list[Json]) -> list[Json]:
    made: list[Json] = []
    for at, one in enumerate(said):
        only(one, _PHASE)
        start = number(one, "start_date") or (
            made[-1]["end_date"] if made else schedule["current_phase"]["start_date"]
        )
        if made and start != made[-1]["end_date"]:
            raise invalid("A phase begins where the one before ends.", f"phases[{at}][start_date]")
        items = [
            _item(_price(world, i)["id"], number(i, "quantity", 1)) for i in need(one, "items")
        ]
        currency = _price(world, one["items"][0])["currency"]
        over = _end(world, one, start)
        if over <= start:
            raise invalid("A phase ends after it begins.", f"phases[{at}][end_date]")
        phase = _blank_phase(items, start, over, currency)
        phase["discounts"] = [
            _reuse(world.store.get("discount", need(d, "discount"))["id"])
            for d in one.get("discounts") or []
        ]
        phase["trial_end"] = number(one, "trial_end")
        phase["metadata"] = merged({}, one)
        phase["proration_behavior"] = one.get("proration_behavior", "create_prorations")
        made.append(phase)
    _now(world, made)
    return made


def _price(world: World, said: Json) -> Json:
    return world.store.get("price", need(said, "price"), "price")


def _end(world: World, said: Json, start: int) -> int:
    if "end_date" in said and said["end_date"] != "now":
        return int(said["end_date"])
    recurring = _price(world, said["items"][0])["recurring"]
    duration = said.get("duration", {})
    beat = duration.get("interval", recurring["interval"])
    count = int(duration.get("interval_count", said.get("iterations", 1)))
    return next_edge(start, beat, count, start)


def _going(world: World, name: str) -> Json:
    schedule = world.store.get("subscription_schedule", name)
    if schedule["status"] not in ("active", "not_started"):
        raise Refused(f"The schedule is {schedule['status']} and cannot be changed any more.")
    return schedule


def _watch(world: World, subscription: Json) -> None:
    from tests.stripe_sim.cycle import watch  # noqa: PLC0415 - a cycle turns phases, too

    watch(world, subscription)


@route("POST", "/v1/subscription_schedules/*/release")
def release_schedule(asked: Asked) -> Json:
    """Let the subscription go on as it is."""
    schedule = _going(asked.world, asked.id)
    release(asked.world, schedule)
    return schedule


@route("POST", "/v1/subscription_schedules/*/cancel")
def cancel_schedule(asked: Asked) -> Json:
    """End the schedule and its subscription now."""
    schedule = _going(asked.world, asked.id)
    end(
        asked.world,
        asked.world.store.get("subscription", schedule["subscription"]),
        "cancellation_requested",
    )
    return schedule


@route("GET", "/v1/subscription_schedules/*")
def read_schedule(asked: Asked) -> Json:
    """Read a schedule."""
    return asked.world.store.get("subscription_schedule", asked.id)


@route("GET", "/v1/subscription_schedules")
def list_schedules(asked: Asked) -> Json:
    """List schedules."""
    return page_of(
        asked, "subscription_schedule", "/v1/subscription_schedules", apart=("customer",)
    )
