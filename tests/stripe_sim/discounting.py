"""What coupons take off an invoice, and how long they hold."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.errors import Refused, invalid
from tests.stripe_sim.lines import share
from tests.stripe_sim.timeline import later
from tests.stripe_sim.world import World

Json = dict[str, Any]


def applied(world: World, said: list[Json] | str, *, customer: str, subscription: str) -> list[str]:
    """Return the discounts that a request asks for, made where they are new. Raises: Refused."""
    if said == "":
        return []
    if not isinstance(said, list):
        raise invalid("Invalid array", "discounts")
    return [_one(world, one, customer, subscription) for one in said]


def _one(world: World, said: Json, customer: str, subscription: str) -> str:
    if "discount" in said:
        return str(world.store.get("discount", said["discount"], "discounts")["id"])
    code = None
    if "promotion_code" in said:
        code = world.store.get("promotion_code", said["promotion_code"], "promotion_code")
        _require_usable(world, code, customer)
        coupon = world.store.get("coupon", code["promotion"]["coupon"])
    else:
        coupon = world.store.get("coupon", said["coupon"], "coupon")
    if not still_valid(world, coupon):
        raise Refused("Coupon expired: " + coupon["id"], code="coupon_expired", param="coupon")
    coupon["times_redeemed"] += 1
    if code is not None:
        code["times_redeemed"] += 1
    end = None
    if coupon["duration"] == "repeating":
        end = later(world.now, "month", coupon["duration_in_months"], 1)
    made = world.make(
        "discount",
        "di",
        customer=customer,
        end=end,
        promotion_code=code["id"] if code else None,
        source={"coupon": coupon["id"], "type": "coupon"},
        start=world.now,
        subscription=subscription,
    )
    world.events.emit("customer.discount.created", made)
    return str(made["id"])


def _require_usable(world: World, code: Json, customer: str) -> None:
    ends, most = code["expires_at"], code["max_redemptions"]
    if (
        not code["active"]
        or (ends is not None and ends <= world.now)
        or (most is not None and code["times_redeemed"] >= most)
        or code["customer"] not in (None, customer)
    ):
        raise Refused(
            "This promotion code cannot be redeemed because it is expired, used up or another's.",
            code="promotion_code_inactive",
            param="promotion_code",
        )


def still_valid(world: World, coupon: Json) -> bool:
    """Tell whether a coupon may be redeemed now."""
    most, until = coupon["max_redemptions"], coupon["redeem_by"]
    return (most is None or coupon["times_redeemed"] < most) and (
        until is None or until > world.now
    )


def take_off(world: World, lines: list[Json], names: list[str]) -> list[Json]:
    """Write discounts onto lines and return their totals. Each line keeps its own amount."""
    totals = []
    for name in names:
        coupon = world.store.get("coupon", world.store.get("discount", name)["source"]["coupon"])
        left = coupon["amount_off"] or 0
        total = 0
        for line in (one for one in lines if one["discountable"] and one["amount"] > 0):
            rest = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
            if coupon["percent_off"]:
                off = share(rest, int(coupon["percent_off"] * 100), 10_000)
            else:
                off = min(rest, left)
                left -= off
            line["discount_amounts"].append({"amount": off, "discount": name})
            total += off
        totals.append({"amount": total, "discount": name})
    return totals


def outlived(world: World, subscription: Json) -> list[str]:
    """Return the discounts of a subscription that hold after an invoice was made now."""
    held = []
    for name in subscription["discounts"]:
        discount = world.store.get("discount", name)
        coupon = world.store.get("coupon", discount["source"]["coupon"])
        over = discount["end"] is not None and discount["end"] <= world.now
        if coupon["duration"] == "once" or over:
            world.events.emit("customer.discount.deleted", discount)
        else:
            held.append(name)
    return held
