"""What a customer may buy on the provider's page, judged by the catalog and by what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from api.catalog.customers import Customer
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import Catalog, Plan, Price
from api.domain.entitlements import SubscriptionStatus
from api.domain.errors import InvalidInput
from api.domain.event_order import TERMINAL

MOST_QUANTITY = 10_000
MOST_LINES = 20
"""How many recurring prices a subscription holds at Stripe."""


@dataclass(frozen=True, slots=True)
class Basket:
    """What a checkout sells: a plan with add-ons, or a number of one pack."""

    plan: str | None = None
    price: str | None = None
    add_ons: tuple[tuple[str, int], ...] = ()
    pack: str | None = None
    quantity: int = 1
    promotion_code: str | None = None

    def said(self) -> dict[str, Any]:
        """Return it in the caller's words."""
        return {
            "plan": self.plan,
            "price": self.price,
            "add_ons": [list(one) for one in self.add_ons],
            "pack": self.pack,
            "quantity": self.quantity,
            "promotion_code": self.promotion_code,
        }


def priced(
    catalog: Catalog, customer: Customer, basket: Basket, *, own: bool
) -> tuple[list[dict[str, Any]], int | None]:
    """Return its lines, and the days of a trial. Raises: InvalidInput."""
    if (basket.plan is None) == (basket.pack is None):
        raise InvalidInput("A checkout sells a plan or a pack: say one of the two.")
    expect_quantity(basket.quantity, least=1)
    if basket.pack is not None:
        pack = catalog.packs.get(basket.pack)
        if pack is None or (own and not pack.public) or not pack.serves(customer.type):
            raise InvalidInput(f"There is no pack {basket.pack[:200]!r} for this customer.")
        price = chosen(pack.prices, basket.price, None, basket.pack)
        return [{"price": price.key, "quantity": basket.quantity}], None
    if len(basket.add_ons) >= MOST_LINES:
        raise InvalidInput(f"A plan and its add-ons are at most {MOST_LINES} lines.")
    plan = plan_for(catalog, basket.plan or "", customer, own=own)
    price = chosen(plan.prices, basket.price, None, plan.key)
    lines = {plan.key: {"price": price.key, "quantity": 1}}
    for key, quantity in basket.add_ons:
        expect_quantity(quantity, least=1)
        sold = catalog.add_ons.get(key)
        if sold is None or not sold.sold_beside(plan.key):
            raise InvalidInput(f"{key[:200]!r} is not sold beside {plan.key}.")
        if f"add-on {key}" in lines:
            raise InvalidInput(f"{key!r} is there twice: say its whole quantity once.")
        beside = chosen(sold.prices, None, price.interval, key)
        lines[f"add-on {key}"] = {"price": beside.key, "quantity": quantity}
    return list(lines.values()), price.trial_days


def expect_room(
    catalog: Catalog, customer: Customer, plan: str, held: Sequence[SubscriptionRecord]
) -> None:
    """Refuse a plan beside one that goes on, where it would be one too many.

    What is to end leaves room, and so does what was never begun for want of its first payment.
    Raises: InvalidInput.
    """
    live = [
        one
        for one in held
        if one.plan is not None
        and one.status not in TERMINAL
        and one.status is not SubscriptionStatus.INCOMPLETE
        and not one.cancel_at_period_end
        and one.ends_at is None
    ]
    if catalog.type_of(customer.type).several_subscriptions:
        if any(one.plan == plan for one in live):
            raise InvalidInput(
                f"This customer holds {plan} already: a second subscription is of another plan."
            )
    elif live:
        raise InvalidInput(
            f"This customer holds {live[0].plan} already, and a second subscription would be paid "
            "beside it: use changePlan. A checkout of a plan is for who has none, or whose ends."
        )


def beside(catalog: Catalog, plan: str, price: Price) -> dict[str, dict[str, str | None]]:
    """Return what becomes of add-ons' prices beside this price of a plan, where that is a change.

    What is not sold beside the plan goes (None); what has a price of its interval moves to it.
    """
    changes: dict[str, dict[str, str | None]] = {}
    for add_on in catalog.add_ons.values():
        fitting = [one.key for one in add_on.prices if one.interval == price.interval]
        for held in add_on.prices:
            if not add_on.sold_beside(plan):
                changes[held.key] = {"add_on": add_on.key, "price": None}
            elif len(fitting) == 1 and held.key not in fitting:
                changes[held.key] = {"add_on": add_on.key, "price": fitting[0]}
    return changes


def plan_for(catalog: Catalog, key: str, customer: Customer, *, own: bool) -> Plan:
    """Return a plan that this customer may have. Raises: InvalidInput."""
    plan = catalog.plans.get(key)
    if plan is None or (own and not plan.public) or not plan.serves(customer.type):
        raise InvalidInput(f"There is no plan {key[:200]!r} for this customer.")
    return plan


def interval_of(catalog: Catalog, price: str | None) -> str | None:
    """Return how often a plan's price is asked for."""
    every = (p for plan in catalog.plans.values() for p in plan.prices)
    return next((p.interval for p in every if p.key == price), None)


def chosen(prices: Iterable[Price], key: str | None, interval: str | None, what: str) -> Price:
    """Return the price that is meant: the named one, else the only one, else of this interval."""
    found = list(prices)
    if key is not None:
        found = [price for price in found if price.key == key]
    elif len(found) > 1:
        found = [price for price in found if price.interval == interval]
    if not found:
        raise InvalidInput(f"{what[:200]!r} has no such price.")
    if len(found) > 1:
        raise InvalidInput(f"{what[:200]!r} has several prices: say which one is meant.")
    return found[0]


def expect_quantity(quantity: int, *, least: int) -> None:
    """Refuse a number that nobody can mean. Raises: InvalidInput."""
    if not least <= quantity <= MOST_QUANTITY:
        raise InvalidInput(f"A quantity is {least} to {MOST_QUANTITY:,}.")
