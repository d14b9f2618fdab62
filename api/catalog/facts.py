"""A catalog as a flat list of facts, each under the path that a person would name it by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from api.catalog.currencies import money
from api.catalog.limits import OVERAGE, UNLIMITED
from api.domain.catalog import (
    AddOn,
    Anchor,
    Catalog,
    CreditCost,
    Feature,
    FeatureKind,
    Limit,
    OutageMode,
    Pack,
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

    A plan, add-on, pack, feature, cost or customer type as such is the fact whose path has two
    parts. Names of other facts hold a blank wherever a feature's key could stand, so the two never
    meet.
    """
    return dict(_facts(catalog))


def _facts(catalog: Catalog) -> Iterator[tuple[FactPath, Scalar]]:
    yield from _of_product(catalog)
    for key, kind in catalog.customer_types.items():
        yield ("customer type", key), kind.name
        yield ("customer type", key, "default plan"), kind.default_plan
        yield ("customer type", key, "several subscriptions"), kind.several_subscriptions
    for key, feature in catalog.features.items():
        yield from _under("feature", key, _of_feature(feature))
    for key, cost in catalog.costs.items():
        yield ("cost", key), _cost(cost)
    for key, plan in catalog.plans.items():
        yield from _under("plan", key, _of_plan(plan))
        yield from _under("plan", key, _of_holder(catalog, plan))
    for key, add_on in catalog.add_ons.items():
        yield ("add-on", key), add_on.name
        yield ("add-on", key, "for plans"), _names(add_on.plans)
        yield from _under("add-on", key, _of_holder(catalog, add_on))
    for key, pack in catalog.packs.items():
        yield from _under("pack", key, _of_pack(pack))


def _under(
    part: str, key: str, facts: Iterator[tuple[FactPath, Scalar]]
) -> Iterator[tuple[FactPath, Scalar]]:
    for path, fact in facts:
        yield (part, key, *path), fact


def _of_product(catalog: Catalog) -> Iterator[tuple[FactPath, Scalar]]:
    yield ("product",), catalog.product
    yield ("past due",), catalog.past_due.value
    if catalog.grace_days is not None:
        yield ("grace days",), catalog.grace_days
    yield ("past due notice",), catalog.past_due_notice.value
    yield ("trial reminder days",), catalog.trial_reminder_days
    yield ("default customer type",), catalog.default_customer_type
    yield ("order of plans",), " < ".join(_by_rank(catalog))


def _names(keys: frozenset[str]) -> str:
    return ", ".join(sorted(keys)) or "all"


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


def _cost(cost: CreditCost) -> str:
    per = "a unit" if cost.per == 1 else f"for {cost.per} units, rounded {cost.rounding}"
    least = f", at least {cost.minimum}" if cost.minimum else ""
    return f"{cost.credits} {per}{least}"


def _of_plan(plan: Plan) -> Iterator[tuple[FactPath, Scalar]]:
    yield (), plan.name
    yield ("is public",), plan.public
    yield ("for customer types",), _names(plan.customer_types)
    if plan.credits is not None:
        yield ("credits a month",), plan.credits.units
        yield ("credits on trial",), plan.credits.trial_units
        yield ("credits rolled over",), plan.credits.rollover
        yield ("priority of credits",), plan.credits.priority


def _of_pack(pack: Pack) -> Iterator[tuple[FactPath, Scalar]]:
    yield (), pack.name
    yield ("is public",), pack.public
    yield ("credits",), pack.credits
    yield ("bucket",), pack.bucket.value
    yield ("priority",), pack.priority
    if pack.expires_days is not None:
        yield ("expires after days",), pack.expires_days
    yield ("for features",), _names(pack.features)
    yield ("for customer types",), _names(pack.customer_types)
    for price in pack.prices:
        yield (f"price {price.key}",), _price(price)


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
    if limit.overage:
        yield "overage", OVERAGE
