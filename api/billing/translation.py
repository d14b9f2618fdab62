"""What a provider's subscription means in our words: which plan, which add-ons, until when."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from api.billing.problems import UnknownPrice
from api.billing.provider import ProviderItem, ProviderSubscription
from api.catalog.subscription_changes import Line
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import Catalog, Plan
from api.domain.event_order import TERMINAL

log = logging.getLogger(__name__)


class _Coming(NamedTuple):
    """A plan that comes by itself, if one does."""

    plan: str | None = None
    price: str | None = None
    at: datetime | None = None


def record_of(
    catalog: Catalog,
    told: ProviderSubscription,
    *,
    provider: str,
    customer_id: int,
    known: SubscriptionRecord | None,
    created_at: datetime,
    event_id: str,
) -> SubscriptionRecord:
    """Return the record of ``told``, whose state ``event_id`` pointed at.

    Of several plans in one subscription the highest rank counts; add-ons add up. One that has
    ended may hold prices that are sold no more: it gives nothing, and keeps the plan it had.
    Raises: UnknownPrice.
    """
    over = told.status in TERMINAL
    plans: list[tuple[Plan, ProviderItem]] = []
    add_ons: dict[str, int] = {}
    for item in told.items:
        plan = None if item.price is None else catalog.plan_of_price(item.price)
        add_on = None if item.price is None else catalog.add_on_of_price(item.price)
        if plan is not None:
            plans.append((plan, item))
        elif add_on is not None:
            add_ons[add_on.key] = add_ons.get(add_on.key, 0) + item.quantity
        elif not over:
            raise _unknown_price(item)
    if len(plans) > 1:
        log.warning(
            "a subscription holds several plans; the highest counts",
            extra={"subscription": told.id, "plans": [plan.key for plan, _ in plans]},
        )
    leading = max(plans, key=lambda held: (held[0].rank, held[0].key), default=None)
    period = leading[1] if leading is not None else next(iter(told.items), None)
    kept = known if over and leading is None else None
    coming = _Coming() if over else _scheduled(catalog, told, leading)
    if told.scheduled is None and known is not None and not over:
        coming = _Coming(known.scheduled_plan, known.scheduled_price, known.scheduled_at)
    return SubscriptionRecord(
        customer_id=customer_id,
        provider=provider,
        provider_id=told.id,
        status=told.status,
        plan=leading[0].key if leading is not None else kept.plan if kept else None,
        price=leading[1].price if leading is not None else kept.price if kept else None,
        pending_plan=_pending(catalog, told.pending),
        add_ons=tuple(sorted((key, count) for key, count in add_ons.items() if count > 0)),
        current_period_start=period.period_start if period else None,
        current_period_end=period.period_end if period else None,
        billing_anchor=told.billing_anchor,
        trial_ends_at=told.trial_ends_at,
        cancel_at_period_end=told.cancel_at_period_end,
        ends_at=told.ends_at,
        provider_created_at=created_at,
        provider_event_id=event_id,
        scheduled_plan=coming.plan,
        scheduled_price=coming.price,
        scheduled_at=coming.at,
    )


def lines_of(told: ProviderSubscription) -> list[Line]:
    """Return what is paid for, each line at the provider's own price."""
    return [
        Line(
            item.price or item.price_id,
            item.price_id,
            item.quantity,
            item.cost_minor,
            item.currency,
            item.interval,
            item.every,
        )
        for item in told.items
    ]


def _pending(catalog: Catalog, prices: Iterable[str]) -> str | None:
    found = [plan for price in prices if (plan := catalog.plan_of_price(price)) is not None]
    return max(found, key=lambda plan: (plan.rank, plan.key)).key if found else None


def _scheduled(
    catalog: Catalog, told: ProviderSubscription, present: tuple[Plan, ProviderItem] | None
) -> _Coming:
    """Return what the first phase to come brings that changes plan or price."""
    held = None if present is None else (present[0].key, present[1].price)
    for phase in told.scheduled or ():
        named = ((catalog.plan_of_price(price), price) for price in phase.prices)
        found = [(plan, price) for plan, price in named if plan is not None]
        if not found:
            continue
        plan, price = max(found, key=lambda one: (one[0].rank, one[0].key))
        if (plan.key, price) != held:
            return _Coming(plan.key, price, phase.at)
    return _Coming()


def _unknown_price(item: ProviderItem) -> UnknownPrice:
    if item.price is None:
        return UnknownPrice(
            f"The price {item.price_id} has no lookup key, so no plan can be found by it: give it "
            "the key of a price in the catalog, then replay."
        )
    return UnknownPrice(
        f"The catalog has no price {item.price!r} ({item.price_id}): apply a catalog that has it, "
        "then replay."
    )
