"""A catalog as a flat list of facts, each under the path that a person would name it by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from api.catalog.currencies import money
from api.catalog.limits import UNLIMITED
from api.domain.catalog import (
    AddOn,
    Anchor,
    Catalog,
    Feature,
    FeatureKind,
    Limit,
    OutageMode,
    Plan,
    PlanFeature,
    Price,
    Scalar,
    WindowKind,
)

FactPath = tuple[str, ...]
"""What a fact belongs to, then its own name: ``("plan", "starter", "tx_post", "month")``."""


def facts_of(catalog: Catalog) -> Mapping[FactPath, Scalar]:
    """Return every fact of ``catalog``; of ranks and prices only what their order means.

    A plan, add-on, feature or customer type as such is the fact whose path has two parts. Names of
    other facts hold a blank wherever a feature's key could stand, so the two never meet.
    """
    return dict(_facts(catalog))


def _facts(catalog: Catalog) -> Iterator[tuple[FactPath, Scalar]]:
    yield ("product",), catalog.product
    yield ("past due",), catalog.past_due.value
    if catalog.grace_days is not None:
        yield ("grace days",), catalog.grace_days
    yield ("past due notice",), catalog.past_due_notice.value
    yield ("trial reminder days",), catalog.trial_reminder_days
    yield ("default customer type",), catalog.default_customer_type
    yield ("order of plans",), " < ".join(_by_rank(catalog))
    for key, kind in catalog.customer_types.items():
        yield ("customer type", key), kind.name
        yield ("customer type", key, "default plan"), kind.default_plan
    for key, feature in catalog.features.items():
        for path, fact in _of_feature(feature):
            yield ("feature", key, *path), fact
    for key, plan in catalog.plans.items():
        yield ("plan", key), plan.name
        yield ("plan", key, "is public"), plan.public
        yield ("plan", key, "for customer types"), ", ".join(sorted(plan.customer_types)) or "all"
        for path, fact in _of_holder(catalog, plan):
            yield ("plan", key, *path), fact
    for key, add_on in catalog.add_ons.items():
        yield ("add-on", key), add_on.name
        yield ("add-on", key, "for plans"), ", ".join(sorted(add_on.plans)) or "all"
        for path, fact in _of_holder(catalog, add_on):
            yield ("add-on", key, *path), fact


def _by_rank(catalog: Catalog) -> list[str]:
    return [plan.key for plan in sorted(catalog.plans.values(), key=lambda p: (p.rank, p.key))]


def _of_feature(feature: Feature) -> Iterator[tuple[FactPath, Scalar]]:
    yield (), feature.kind.value
    yield ("name",), feature.name
    if feature.unit is not None:
        yield ("unit",), feature.unit
    bounded = feature.outage.mode is OutageMode.BOUNDED
    bound = f" {feature.outage.units}" if bounded else ""
    yield ("durability",), feature.durability.value
    yield ("outage",), f"{feature.outage.mode}{bound}"
    yield ("replay seconds",), feature.replay_seconds


def _of_holder(catalog: Catalog, holder: Plan | AddOn) -> Iterator[tuple[FactPath, Scalar]]:
    for price in holder.prices:
        yield (f"price {price.key}",), _price(price)
    for key, offer in holder.features.items():
        allocation = catalog.features[key].kind is FeatureKind.ALLOCATION
        for path, fact in _of_offer(offer, allocation=allocation):
            yield (key, *path), fact


def _price(price: Price) -> str:
    every = "once" if price.interval is None else f"a {price.interval}"
    trial = "" if price.trial_days is None else f", {price.trial_days} days of trial"
    return f"{money(price.amount_minor, price.currency)} {every}{trial}"


def _of_offer(offer: PlanFeature, *, allocation: bool) -> Iterator[tuple[FactPath, Scalar]]:
    if not offer.enabled:
        yield (), False
    elif offer.value is not None:
        yield (), offer.value
    elif not offer.limits:
        yield (), True
    for limit in offer.limits:
        window = () if allocation else (limit.window.value,)
        yield window, UNLIMITED if limit.units is None else limit.units
        for name, fact in _details(limit):
            yield (*window, name), fact


def _details(limit: Limit) -> Iterator[tuple[str, Scalar]]:
    if limit.anchor is Anchor.BILLING and limit.window is not WindowKind.BILLING_PERIOD:
        yield "anchor", limit.anchor.value
    if limit.code is not None:
        yield "code", limit.code
    if limit.status is not None:
        yield "status", limit.status
    if limit.shadow:
        yield "shadow", True
