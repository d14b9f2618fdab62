"""The items of a subscription, one by one."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.errors import Refused
from tests.stripe_sim.listing import page_within
from tests.stripe_sim.params import need
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.subscriptions import changed

Json = dict[str, Any]


@route("GET", "/v1/subscription_items")
def list_items(asked: Asked) -> Json:
    """List the items of a subscription."""
    found = asked.world.store.get("subscription", need(asked.params, "subscription"))
    return page_within(asked, found["items"]["data"], "/v1/subscription_items", "subscription")


@route("GET", "/v1/subscription_items/*")
def read_item(asked: Asked) -> Json:
    """Read an item."""
    return _owner_of(asked)[1]


@route("POST", "/v1/subscription_items/*")
def update_item(asked: Asked) -> Json:
    """Change an item; that is a change of its subscription."""
    owner, item = _owner_of(asked)
    own = {name: asked.params[name] for name in ("price", "quantity") if name in asked.params}
    rest = {name: value for name, value in asked.params.items() if name not in own}
    changed(asked.world, owner, {**rest, "items": [{"id": item["id"], **own}]})
    return _owner_of(asked)[1]


def _owner_of(asked: Asked) -> tuple[Json, Json]:
    for one in asked.world.store.all("subscription"):
        for item in one["items"]["data"]:
            if item["id"] == asked.id:
                return asked.world.store.get("subscription", one["id"]), item
    raise Refused(f"No such subscription_item: '{asked.id}'", status=404, code="resource_missing")
