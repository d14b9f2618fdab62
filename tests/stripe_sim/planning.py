"""What a change of a subscription's items would make of it: items, prorations, whether to bill now.

Nothing is held here, so that a preview and a change reckon the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.stripe_sim import lines
from tests.stripe_sim.errors import Refused, invalid
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.pricing import sold_in
from tests.stripe_sim.shapes import copied, listed, new
from tests.stripe_sim.timeline import next_edge
from tests.stripe_sim.world import World

Json = dict[str, Any]

PRORATIONS = ("create_prorations", "always_invoice", "none")


@dataclass
class Plan:
    """A change that is reckoned and not yet made."""

    items: list[Json]
    lines: list[Json] = field(default_factory=list)
    """Prorations, and full periods that begin now."""
    anchor: int | None = None
    """The new billing cycle anchor, where a new cycle begins now."""
    bill_now: bool = False
    changed: bool = False


def new_item(world: World, subscription_id: str, said: Json, period: tuple[int, int]) -> Json:
    """Return an item for what a request says. Raises: Refused."""
    if "price_data" in said:
        raise invalid("Only prices that exist can be subscribed to here.", "price_data")
    price = world.store.get("price", need(said, "price"), "price")
    if price["recurring"] is None:
        raise Refused(
            "The price specified is set to `type=one_time` but this field only accepts prices "
            "with `type=recurring`.",
            param="items[0][price]",
        )
    if not price["active"]:
        raise Refused("The price specified is inactive.", param="items[0][price]")
    return new(
        "subscription_item",
        id=world.name("si"),
        created=world.now,
        current_period_start=period[0],
        current_period_end=period[1],
        metadata=merged({}, said),
        price=copied(price),
        plan=_plan(price),
        quantity=_quantity(price, said),
        subscription=subscription_id,
        tax_rates=[],
    )


def _quantity(price: Json, said: Json) -> int | None:
    """Return how many are asked for; of metered use nobody says how many."""
    if price["recurring"]["usage_type"] == "licensed":
        return number(said, "quantity", 1)
    if "quantity" in said:
        raise Refused("You can't set the quantity of a metered price.", param="items[0][quantity]")
    return None


def _plan(price: Json) -> Json:
    recurring = price["recurring"]
    return new(
        "plan",
        id=price["id"],
        active=price["active"],
        amount=price["unit_amount"],
        amount_decimal=price["unit_amount_decimal"],
        created=price["created"],
        currency=price["currency"],
        interval=recurring["interval"],
        interval_count=recurring["interval_count"],
        metadata={},
        product=price["product"],
    )


def item_list(subscription_id: str, items: list[Json]) -> Json:
    """Return a subscription's list of items."""
    return listed(items, f"/v1/subscription_items?subscription={subscription_id}")


def period_of(anchor: int, price: Json, at: int) -> tuple[int, int]:
    """Return the period of a price that begins at an instant and ends on the anchor's beat."""
    recurring = price["recurring"]
    return at, next_edge(anchor, recurring["interval"], recurring["interval_count"], at)


def planned(world: World, subscription: Json, params: Json) -> Plan:
    """Return what a request to change items, anchor or trial would do. Raises: Refused."""
    at = number(params, "proration_date", world.now) or world.now
    behaviour = one_of(params, "proration_behavior", PRORATIONS, "create_prorations")
    old = subscription["items"]["data"]
    items = _items(world, subscription, params.get("items") or [])
    trialing = subscription["status"] == "trialing"
    restart = params.get("billing_cycle_anchor") == "now" or (
        not trialing and _beat(old) != _beat(items)
    )
    plan = Plan(items, changed=[_what(i) for i in old] != [_what(i) for i in items])
    if restart:
        plan.anchor, plan.bill_now, plan.changed = world.now, True, True
    if not trialing and subscription["status"] not in ("paused", "incomplete"):
        plan.lines = _prorations(world, subscription, plan, behaviour, at)
    if restart:
        for item in items:
            start, end = period_of(world.now, item["price"], world.now)
            item |= {"current_period_start": start, "current_period_end": end}
            plan.lines.append(lines.of_period(world, subscription, item))
    plan.bill_now |= behaviour == "always_invoice" and bool(plan.lines)
    return plan


def _prorations(
    world: World, subscription: Json, plan: Plan, behaviour: str, at: int
) -> list[Json]:
    if behaviour == "none":
        return []
    before = {item["id"]: item for item in subscription["items"]["data"]}
    after = {item["id"]: item for item in plan.items}
    made = []
    for name, item in before.items():
        if plan.anchor is not None or name not in after or _what(after[name]) != _what(item):
            made.append(lines.prorated(world, subscription, item, at=at, sign=-1))
    if plan.anchor is None:
        for name, item in after.items():
            if name not in before or _what(before[name]) != _what(item):
                made.append(lines.prorated(world, subscription, item, at=at, sign=1))
    return made


def _what(item: Json) -> tuple[str, str, int | None]:
    return item["id"], item["price"]["id"], item["quantity"]


def _beat(items: list[Json]) -> set[tuple[str, int]]:
    beats = (item["price"]["recurring"] for item in items)
    return {(beat["interval"], beat["interval_count"]) for beat in beats}


def _items(world: World, subscription: Json, said: list[Json]) -> list[Json]:
    items: dict[str, Json] = {i["id"]: copied(i) for i in subscription["items"]["data"]}
    for one in said:
        name = one.get("id")
        if name is None:
            made = _added(world, subscription, list(items.values()), one)
            items[made["id"]] = made
        elif name not in items:
            raise Refused(f"No such subscription item: '{name}'", code="resource_missing")
        elif truth(one, "deleted"):
            del items[name]
        else:
            _change(world, items[name], one)
    if not items:
        raise Refused("A subscription must have at least one active item.", param="items")
    return list(items.values())


def _added(world: World, subscription: Json, held: list[Json], said: Json) -> Json:
    if any(item["price"]["id"] == said.get("price") for item in held):
        raise Refused(
            f"Cannot add multiple subscription items with the same plan: {said['price']}",
            param="items",
        )
    made = new_item(world, subscription["id"], said, (world.now, world.now))
    if subscription["trial_end"] and subscription["trial_end"] > world.now:
        end = subscription["trial_end"]
    else:
        end = period_of(subscription["billing_cycle_anchor"], made["price"], world.now)[1]
    made["current_period_end"] = end
    like = [item for item in held if _beat([item]) == _beat([made])]
    if like:
        edges = ("current_period_start", "current_period_end")
        made |= {edge: like[0][edge] for edge in edges}
    return made


def _currency(world: World, item: Json) -> str:
    return str(world.store.get("subscription", item["subscription"])["currency"])


def _change(world: World, item: Json, said: Json) -> None:
    if "price" in said and said["price"] != item["price"]["id"]:
        price = world.store.get("price", said["price"], "price")
        if not sold_in(world, price, _currency(world, item)):
            raise Refused("The price is in another currency.", param="items[0][price]")
        item |= {"price": copied(price), "plan": _plan(price)}
    item["quantity"] = number(said, "quantity", item["quantity"])
    item["metadata"] = merged(item["metadata"], said)
