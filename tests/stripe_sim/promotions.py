"""Coupons and promotion codes."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.catalog import only
from tests.stripe_sim.discounting import still_valid
from tests.stripe_sim.errors import Refused, lacking
from tests.stripe_sim.listing import page_of
from tests.stripe_sim.params import merged, need, number, one_of, truth
from tests.stripe_sim.routes import Asked, route

Json = dict[str, Any]

_COUPON = {
    "id", "percent_off", "amount_off", "currency", "duration", "duration_in_months",
    "max_redemptions", "redeem_by", "name", "metadata",
}  # fmt: skip
_CODE = {"promotion", "code", "customer", "max_redemptions", "expires_at", "active", "metadata"}


@route("POST", "/v1/coupons")
def create_coupon(asked: Asked) -> Json:
    """Make a coupon."""
    world, params = asked.world, asked.params
    only(params, _COUPON)
    percent, amount = params.get("percent_off"), number(params, "amount_off")
    if (percent is None) == (amount is None):
        raise (
            lacking("percent_off")
            if percent is None
            else Refused("You may only specify one of these parameters: amount_off, percent_off.")
        )
    if amount is not None:
        need(params, "currency")
    name = params.get("id") or world.name("coupon")
    if world.store.find("coupon", name) is not None:
        raise Refused("Coupon already exists.", code="resource_already_exists", param="id")
    duration = one_of(params, "duration", ("once", "repeating", "forever"), "once")
    if duration == "repeating":
        need(params, "duration_in_months")
    made = world.make(
        "coupon",
        "coupon",
        id=name,
        amount_off=amount,
        currency=params.get("currency"),
        duration=duration,
        duration_in_months=number(params, "duration_in_months"),
        max_redemptions=number(params, "max_redemptions"),
        metadata=merged({}, params),
        name=params.get("name"),
        percent_off=None if percent is None else float(percent),
        redeem_by=number(params, "redeem_by"),
        valid=True,
    )
    world.events.emit("coupon.created", made)
    return made


@route("GET", "/v1/coupons/*")
def read_coupon(asked: Asked) -> Json:
    """Read a coupon."""
    coupon = asked.world.store.get("coupon", asked.id)
    coupon["valid"] = still_valid(asked.world, coupon)
    return coupon


@route("POST", "/v1/coupons/*")
def update_coupon(asked: Asked) -> Json:
    """Change a coupon's name or metadata."""
    only(asked.params, {"name", "metadata"})
    coupon = asked.world.store.get("coupon", asked.id)
    with asked.world.events.changing(coupon, "coupon.updated"):
        coupon["metadata"] = merged(coupon["metadata"], asked.params)
        coupon["name"] = asked.params.get("name", coupon["name"])
    return coupon


@route("DELETE", "/v1/coupons/*")
def delete_coupon(asked: Asked) -> Json:
    """Delete a coupon."""
    coupon = asked.world.store.get("coupon", asked.id)
    asked.world.store.drop(coupon)
    asked.world.events.emit("coupon.deleted", coupon)
    return {"id": asked.id, "object": "coupon", "deleted": True}


@route("GET", "/v1/coupons")
def list_coupons(asked: Asked) -> Json:
    """List coupons."""
    return page_of(asked, "coupon", "/v1/coupons")


@route("POST", "/v1/promotion_codes")
def create_code(asked: Asked) -> Json:
    """Make a code that customers can enter for a coupon."""
    world, params = asked.world, asked.params
    only(params, _CODE)
    coupon = world.store.get("coupon", need(need(params, "promotion"), "coupon"), "promotion")
    code = params.get("code") or world.name("CODE")
    if any(
        p["code"].lower() == code.lower() and p["active"] for p in world.store.all("promotion_code")
    ):
        raise Refused(f"An active promotion code with `code: {code}` already exists.", param="code")
    made = world.make(
        "promotion_code",
        "promo",
        active=truth(params, "active", default=True),
        code=code,
        customer=params.get("customer"),
        expires_at=number(params, "expires_at"),
        max_redemptions=number(params, "max_redemptions"),
        metadata=merged({}, params),
        promotion={"coupon": coupon["id"], "type": "coupon"},
    )
    world.events.emit("promotion_code.created", made)
    return made


@route("GET", "/v1/promotion_codes/*")
def read_code(asked: Asked) -> Json:
    """Read a promotion code."""
    return asked.world.store.get("promotion_code", asked.id)


@route("POST", "/v1/promotion_codes/*")
def update_code(asked: Asked) -> Json:
    """Switch a promotion code on or off."""
    only(asked.params, {"active", "metadata"})
    code = asked.world.store.get("promotion_code", asked.id)
    with asked.world.events.changing(code, "promotion_code.updated"):
        code["active"] = truth(asked.params, "active", default=code["active"])
        code["metadata"] = merged(code["metadata"], asked.params)
    return code


@route("GET", "/v1/promotion_codes")
def list_codes(asked: Asked) -> Json:
    """List promotion codes; a code is found in whatever case it is written."""
    code = asked.params.get("code")
    return page_of(
        asked,
        "promotion_code",
        "/v1/promotion_codes",
        same=("active", "customer"),
        other=("code",),
        fits=None if code is None else lambda one: one["code"].lower() == code.lower(),
    )
