"""Products and prices."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.errors import Refused, invalid, unknown
from tests.stripe_sim.listing import page_of, searched
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.pricing import SAID, hidden_of, shape_of
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import copied
from tests.stripe_sim.world import World

Json = dict[str, Any]

_INTERVALS = ("day", "week", "month", "year")
_TEXTS = ("name", "description", "unit_label", "url", "statement_descriptor", "default_price")
_PRODUCT = {"id", "active", "metadata", *_TEXTS}
_PRICE_CHANGES = {
    "active", "lookup_key", "transfer_lookup_key", "metadata", "nickname", "tax_behavior",
}  # fmt: skip
_PRICE = _PRICE_CHANGES | SAID | {"currency", "product", "product_data", "recurring"}


def only(params: Json, names: set[str]) -> None:
    """Require that a request says nothing unknown. Raises: Refused."""
    for name in params:
        if name not in names:
            raise unknown(name)


@route("POST", "/v1/products")
def create_product(asked: Asked) -> Json:
    """Make a product; its id may be chosen."""
    world, params = asked.world, asked.params
    only(params, _PRODUCT)
    if "id" in params and world.store.find("product", params["id"]) is not None:
        raise Refused("Product already exists.", code="resource_already_exists", param="id")
    need(params, "name")
    fields = {"id": params["id"]} if "id" in params else {}
    made = world.make("product", "prod", type="service", active=True, updated=world.now, **fields)
    _write_product(made, params)
    world.events.emit("product.created", made)
    return made


def _write_product(product: Json, params: Json) -> None:
    product["active"] = truth(params, "active", default=product["active"])
    product["metadata"] = merged(product["metadata"], params)
    product |= {name: params[name] or None for name in _TEXTS if name in params}


@route("GET", "/v1/products/search")
def search_products(asked: Asked) -> Json:
    """Search products."""
    return searched(asked, "product", "/v1/products/search")


@route("GET", "/v1/products/*")
def read_product(asked: Asked) -> Json:
    """Read a product."""
    return asked.world.store.get("product", asked.id)


@route("POST", "/v1/products/*")
def update_product(asked: Asked) -> Json:
    """Change a product."""
    only(asked.params, _PRODUCT - {"id"})
    product = asked.world.store.get("product", asked.id)
    with asked.world.events.changing(product, "product.updated"):
        _write_product(product, asked.params)
    return product


@route("DELETE", "/v1/products/*")
def delete_product(asked: Asked) -> Json:
    """Delete a product that has no price."""
    product = asked.world.store.get("product", asked.id)
    if any(asked.world.store.all("price", product=asked.id)):
        raise Refused("This product cannot be deleted because it has prices.")
    asked.world.store.drop(product)
    asked.world.events.emit("product.deleted", product)
    return {"id": asked.id, "object": "product", "deleted": True}


@route("GET", "/v1/products")
def list_products(asked: Asked) -> Json:
    """List products."""
    ids = asked.params.get("ids")
    return page_of(
        asked,
        "product",
        "/v1/products",
        same=("active", "url"),
        other=("ids",),
        fits=None if ids is None else lambda one: one["id"] in ids,
    )


@route("POST", "/v1/prices")
def create_price(asked: Asked) -> Json:
    """Make a price; no two active or inactive ones hold one lookup key."""
    world, params = asked.world, asked.params
    only(params, _PRICE)
    currency, asks = str(need(params, "currency")).lower(), shape_of(params)
    if "product_data" in params:
        inner = Asked(world, (), params["product_data"])
        product = create_product(inner)["id"]
    else:
        product = world.store.get("product", need(params, "product"), "product")["id"]
    key = _free_key(world, params, None)
    recurring = _recurring(params.get("recurring"))
    made = world.make(
        "price",
        "price",
        active=truth(params, "active", default=True),
        currency=currency,
        lookup_key=key,
        metadata=merged({}, params),
        nickname=params.get("nickname"),
        product=product,
        recurring=recurring,
        tax_behavior=params.get("tax_behavior", "unspecified"),
        type="one_time" if recurring is None else "recurring",
        **asks,
    )
    world.hidden[made["id"]] = hidden_of(params, currency, made)
    world.events.emit("price.created", made)
    return made


def _recurring(said: Json | None) -> Json | None:
    if not said:
        return None
    count = number(said, "interval_count", 1) or 0
    if count < 1:
        raise invalid("This value must be greater than or equal to 1.", "interval_count")
    need(said, "interval")
    return {
        "interval": one_of(said, "interval", _INTERVALS, ""),
        "interval_count": count,
        "meter": None,
        "trial_period_days": number(said, "trial_period_days"),
        "usage_type": said.get("usage_type", "licensed"),
    }


def _free_key(world: World, params: Json, own: str | None) -> str | None:
    """Return the lookup key that is asked for, taken from another price if that is asked too."""
    key = params.get("lookup_key") or None
    if key is None:
        return None
    holders = [p for p in world.store.all("price") if p["lookup_key"] == key and p["id"] != own]
    if holders and not truth(params, "transfer_lookup_key"):
        raise Refused(
            f"A price (`{holders[0]['id']}`) already uses that lookup key.", param="lookup_key"
        )
    for holder in holders:
        with world.events.changing(holder, "price.updated"):
            holder["lookup_key"] = None
        _shown_in_subscriptions(world, holder)
    return str(key)


def _shown_in_subscriptions(world: World, price: Json) -> None:
    """Let subscriptions show a price as it is now; nothing is sent about them."""
    now = {name: price[name] for name in _PRICE_CHANGES if name in price}
    for subscription in world.store.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                item["price"] |= copied(now)


@route("GET", "/v1/prices/search")
def search_prices(asked: Asked) -> Json:
    """Search prices."""
    return searched(asked, "price", "/v1/prices/search")


@route("GET", "/v1/prices/*")
def read_price(asked: Asked) -> Json:
    """Read a price."""
    return asked.world.store.get("price", asked.id)


@route("POST", "/v1/prices/*")
def update_price(asked: Asked) -> Json:
    """Change what may be changed of a price: not its amount, currency or interval."""
    world, params = asked.world, asked.params
    only(params, _PRICE_CHANGES)
    price = world.store.get("price", asked.id)
    with world.events.changing(price, "price.updated"):
        if "lookup_key" in params:
            price["lookup_key"] = _free_key(world, params, asked.id)
        price["active"] = truth(params, "active", default=price["active"])
        price["metadata"] = merged(price["metadata"], params)
        if "nickname" in params:
            price["nickname"] = params["nickname"] or None
    _shown_in_subscriptions(world, price)
    return price


@route("GET", "/v1/prices")
def list_prices(asked: Asked) -> Json:
    """List prices."""
    keys, recurring = asked.params.get("lookup_keys"), asked.params.get("recurring", {})

    def fits(price: Json) -> bool:
        held = price["recurring"] or {}
        return (keys is None or price["lookup_key"] in keys) and all(
            held.get(name) == value for name, value in recurring.items()
        )

    return page_of(
        asked,
        "price",
        "/v1/prices",
        apart=("product",),
        same=("active", "currency", "type"),
        other=("lookup_keys", "recurring"),
        fits=fits,
    )
