"""The lines of invoices: a period of an item, a proration of one, a thing sold once."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.stripe_sim.pricing import cost
from tests.stripe_sim.shapes import new
from tests.stripe_sim.world import World

Json = dict[str, Any]


def share(amount: int, seconds: int, of: int) -> int:
    """Return the part of an amount that belongs to ``seconds`` of a period, to the whole cent."""
    part = Decimal(amount) * seconds / of
    return int(part.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def of_period(world: World, subscription: Json, item: Json, *, free: bool = False) -> Json:
    """Return the line for an item's present period; a trial costs nothing."""
    start, end = item["current_period_start"], item["current_period_end"]
    words = "Trial period for" if free else f"{item['quantity']} x"
    return _line(
        world,
        item["price"],
        amount=0 if free else cost(world, item, subscription["currency"]),
        currency=subscription["currency"],
        quantity=item["quantity"],
        period=(start, end),
        description=f"{words} {item['price']['product']}",
        parent=_item_parent(subscription["id"], item["id"], proration=False),
    )


def prorated(world: World, subscription: Json, item: Json, *, at: int, sign: int) -> Json:
    """Return the line for the rest of an item's period: back with -1, to pay with 1."""
    start, end = item["current_period_start"], item["current_period_end"]
    rest, whole = max(0, end - at), max(1, end - start)
    asked = cost(world, item, subscription["currency"])
    amount = sign * share(_discounted(world, subscription, asked), rest, whole)
    words = "Unused time on" if sign < 0 else "Remaining time on"
    made = _line(
        world,
        item["price"],
        amount=amount,
        currency=subscription["currency"],
        quantity=item["quantity"],
        period=(at, end),
        description=f"{words} {item['quantity']} x {item['price']['product']}",
        parent=_item_parent(subscription["id"], item["id"], proration=True),
    )
    return made | {"discountable": False}


def once(world: World, price: Json, quantity: int, at: int, invoice_item: str) -> Json:
    """Return the line for a thing that is sold once."""
    parent = {
        "invoice_item_details": {
            "invoice_item": invoice_item,
            "proration": False,
            "proration_details": None,
            "subscription": None,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
    return _line(
        world,
        price,
        amount=int(price["unit_amount"] or 0) * quantity,
        currency=price["currency"],
        quantity=quantity,
        period=(at, at),
        description=f"{quantity} x {price['product']}",
        parent=parent,
    )


def _discounted(world: World, subscription: Json, amount: int) -> int:
    """Return an amount less what percentages of the subscription's coupons take."""
    for name in subscription["discounts"]:
        discount = world.store.get("discount", name)
        coupon = world.store.get("coupon", discount["source"]["coupon"])
        if coupon["percent_off"]:
            amount -= share(amount, int(coupon["percent_off"] * 100), 10_000)
    return amount


def _item_parent(subscription: str, item: str, *, proration: bool) -> Json:
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": proration,
            "proration_details": {"credited_items": None} if proration else None,
            "subscription": subscription,
            "subscription_item": item,
        },
        "type": "subscription_item_details",
    }


def _line(
    world: World,
    price: Json,
    *,
    amount: int,
    currency: str,
    quantity: int | None,
    period: tuple[int, int],
    description: str,
    parent: Json,
) -> Json:
    made = new(
        "line_item",
        id=world.name("il"),
        amount=amount,
        subtotal=amount,
        currency=currency,
        description=description,
        discount_amounts=[],
        discountable=True,
        period={"start": period[0], "end": period[1]},
        parent=parent,
        pretax_credit_amounts=[],
        pricing={
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=quantity,
        taxes=[],
    )
    details = parent["subscription_item_details"]
    return made | {"subscription": details["subscription"] if details else None}
