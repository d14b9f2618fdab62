"""Many subscriptions at once: each is made when somebody reads it, from one that was checked."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from tests.stripe_sim.checking import check
from tests.stripe_sim.planning import item_list, new_item, period_of
from tests.stripe_sim.shapes import new
from tests.stripe_sim.world import World

Json = dict[str, Any]


def plant(
    world: World, count: int, price: str, *, metadata_key: str | None = None, tag: str = "planted"
) -> None:
    """Hold customers and active subscriptions named ``cus_<tag>…`` and ``sub_<tag>…``.

    ``metadata_key`` names each customer to the product in the metadata of both. Nothing falls due
    for them. Cost: O(1) memory and time for each until it is read by id.
    """
    customer, subscription = _templates(world, price)
    for number in range(count):
        name = f"{tag}{number:08}"
        make = partial(_made, customer, name, metadata_key)
        world.store.plant("customer", f"cus_{name}", make)
        make = partial(_made, subscription, name, metadata_key)
        world.store.plant("subscription", f"sub_{name}", make, customer=f"cus_{name}")


def _templates(world: World, price: str) -> tuple[bytes, bytes]:
    customer = new("customer", id="cus_~", created=world.now, balance=0, metadata={})
    item = new_item(world, "sub_~", {"price": price}, (world.now, world.now))
    item |= {"id": "si_~", "current_period_end": period_of(world.now, item["price"], world.now)[1]}
    subscription = new(
        "subscription",
        id="sub_~",
        billing_cycle_anchor=world.now,
        created=world.now,
        currency=item["price"]["currency"],
        customer="cus_~",
        items=item_list("sub_~", [item]),
        metadata={},
        start_date=world.now,
        status="active",
    )
    check(customer)
    check(subscription)
    return orjson.dumps(customer), orjson.dumps(subscription)


def _made(template: bytes, name: str, metadata_key: str | None) -> Json:
    made: Json = orjson.loads(template.replace(b"_~", f"_{name}".encode()))
    if metadata_key is not None:
        made["metadata"][metadata_key] = name
    return made
