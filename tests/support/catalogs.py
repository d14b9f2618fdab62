"""Catalogs made by Hypothesis, all of them valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from hypothesis import strategies as st

from api.catalog.currencies import CURRENCIES
from api.domain.catalog import (
    MAX_UNITS,
    AddOn,
    Anchor,
    Audience,
    Bucket,
    Catalog,
    CreditCost,
    CustomerType,
    Durability,
    Feature,
    FeatureKind,
    Limit,
    OutageMode,
    OutagePolicy,
    Pack,
    PastDuePolicy,
    Plan,
    PlanCredits,
    PlanFeature,
    Price,
    Rounding,
    Scalar,
    WindowKind,
)

Included = frozenset[tuple[str, WindowKind]]
"""The windows of features that plans include, and past which credits pay."""

NEVER_ANCHORED = (WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME)

keys = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12
).filter(lambda text: bool(text.strip()))
units = st.none() | st.integers(0, MAX_UNITS)
codes = st.none() | st.sampled_from(["FULL", "FREE_CAP_EXCEEDED", "NO_MORE_2"])
numbers = st.integers(-MAX_UNITS, MAX_UNITS) | st.floats(-1e15, 1e15)


@st.composite
def limits(draw: st.DrawFn, window: WindowKind, *, overage: bool) -> Limit:
    anchors = [Anchor.CALENDAR] if window in NEVER_ANCHORED else list(Anchor)
    if window is WindowKind.BILLING_PERIOD:
        anchors = [Anchor.BILLING]
    anchor = draw(st.sampled_from(anchors))
    if overage:
        return Limit(window, draw(units), anchor, overage=True)
    statuses = [None, 402, 403] if window is WindowKind.LIFETIME else [None, 402, 403, 429]
    return Limit(
        window,
        draw(units),
        anchor=anchor,
        code=draw(codes),
        status=draw(st.sampled_from(statuses)),
        shadow=draw(st.booleans()),
    )


@st.composite
def offers(
    draw: st.DrawFn,
    feature: Feature,
    values: st.SearchStrategy[Scalar],
    included: Included,
    *,
    adding: bool,
) -> PlanFeature:
    """What a plan gives, or an add-on, which never takes away and always names its windows."""
    if not adding and feature.kind is not FeatureKind.VALUE and draw(st.booleans()):
        return PlanFeature(feature.key, enabled=False)
    if feature.kind is FeatureKind.BOOLEAN:
        return PlanFeature(feature.key)
    if feature.kind is FeatureKind.VALUE:
        return PlanFeature(feature.key, value=draw(values))
    chosen = {WindowKind.LIFETIME}
    if feature.kind is FeatureKind.METERED:
        chosen = draw(st.sets(st.sampled_from(WindowKind), min_size=int(adding), max_size=3))
    windows = [window for window in WindowKind if window in chosen]
    return PlanFeature(
        feature.key,
        limits=tuple(draw(limits(w, overage=(feature.key, w) in included)) for w in windows),
    )


@st.composite
def features(draw: st.DrawFn, key: str) -> Feature:
    kind = draw(st.sampled_from(FeatureKind))
    counted = kind in (FeatureKind.METERED, FeatureKind.ALLOCATION)
    modes = list(OutageMode) if counted else [OutageMode.CLOSED, OutageMode.OPEN]
    mode = draw(st.sampled_from(modes))
    bound = draw(st.integers(1, MAX_UNITS)) if mode is OutageMode.BOUNDED else 0
    fast = kind is not FeatureKind.ALLOCATION and (not counted or draw(st.booleans()))
    return Feature(
        key=key,
        name=draw(names),
        kind=kind,
        unit=draw(st.none() | names),
        durability=Durability.FAST if fast else Durability.JOURNALED,
        outage=OutagePolicy(mode, bound),
        replay_seconds=draw(st.integers(1, 86_400)) if counted else 600,
    )


@st.composite
def costs(draw: st.DrawFn, feature: str) -> CreditCost:
    return CreditCost(
        feature=feature,
        credits=draw(st.integers(1, MAX_UNITS)),
        per=draw(st.integers(1, MAX_UNITS)),
        rounding=draw(st.sampled_from(Rounding)),
        minimum=draw(st.integers(0, MAX_UNITS)),
    )


@st.composite
def plan_credits(draw: st.DrawFn) -> PlanCredits:
    monthly = draw(st.integers(1, MAX_UNITS))
    return PlanCredits(
        units=monthly,
        trial_units=draw(st.integers(0, monthly)),
        rollover=draw(st.integers(0, MAX_UNITS)),
        priority=draw(st.integers(0, 1_000_000)),
    )


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Any valid catalog; its first plan is the free one, gives nothing and serves everyone."""
    known = {
        k: draw(features(k)) for k in draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    }
    charged = {
        key: draw(costs(key))
        for key, feature in known.items()
        if feature.kind is FeatureKind.METERED and draw(st.booleans())
    }
    for key in charged:
        known[key] = replace(known[key], outage=OutagePolicy())
    included = frozenset(
        (k, w) for k in charged for w in draw(st.sets(st.sampled_from(WindowKind)))
    )
    type_keys = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    plan_keys = draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    ranks = draw(st.just(range(len(plan_keys))) | st.permutations(range(len(plan_keys))))
    values = {key: draw(st.sampled_from([names, numbers, st.booleans()])) for key in known}
    prices = iter(range(1000))

    def some_offers(*, adding: bool) -> Mapping[str, PlanFeature]:
        chosen = draw(st.lists(st.sampled_from(list(known)), unique=True))
        return MappingProxyType(
            {key: draw(offers(known[key], values[key], included, adding=adding)) for key in chosen}
        )

    def some_prices(*, trials: bool) -> tuple[Price, ...]:
        return tuple(_price(draw, f"price_{next(prices)}", trials=trials) for _ in range(draw(few)))

    few = st.integers(0, 2)
    plans = {
        key: Plan(
            key=key,
            name=draw(names),
            public=draw(st.booleans()),
            rank=ranks[place],
            customer_types=draw(st.frozensets(st.sampled_from(type_keys)))
            if place
            else frozenset(),
            prices=some_prices(trials=True) if place else (),
            features=some_offers(adding=False) if place else MappingProxyType({}),
            credits=draw(st.none() | plan_credits()),
        )
        for place, key in enumerate(plan_keys)
    }
    packs = {
        key: Pack(
            key=key,
            name=draw(names),
            credits=draw(st.integers(1, MAX_UNITS)),
            public=draw(st.booleans()),
            bucket=draw(st.sampled_from([Bucket.PERMANENT, Bucket.PROMOTIONAL])),
            priority=draw(st.integers(0, 1_000_000)),
            expires_days=draw(st.none() | st.integers(1, 36_500)),
            prices=tuple(replace(p, interval=None) for p in some_prices(trials=False)),
            features=draw(st.frozensets(st.sampled_from(list(charged))))
            if charged
            else frozenset(),
            customer_types=draw(st.frozensets(st.sampled_from(type_keys))),
        )
        for key in draw(st.lists(keys, max_size=2, unique=True))
    }
    add_ons = {
        key: AddOn(
            key=key,
            name=draw(names),
            plans=draw(st.sampled_from([frozenset(), frozenset(plan_keys)])),
            prices=some_prices(trials=False),
            features=some_offers(adding=True),
        )
        for key in draw(st.lists(keys, max_size=2, unique=True))
    }
    access = draw(st.sampled_from(PastDuePolicy))
    keeps = access is PastDuePolicy.KEEP
    catalog = Catalog(
        product=draw(names),
        features=MappingProxyType(known),
        plans=MappingProxyType(plans),
        add_ons=MappingProxyType(add_ons),
        customer_types=MappingProxyType(
            {key: CustomerType(key, draw(names), plan_keys[0]) for key in type_keys}
        ),
        default_customer_type=draw(st.sampled_from(type_keys)),
        past_due=access,
        grace_days=draw(st.none() | st.integers(1, 365)) if keeps else None,
        past_due_notice=draw(st.sampled_from(Audience)),
        trial_reminder_days=draw(st.integers(0, 60)),
        costs=MappingProxyType(charged),
        packs=MappingProxyType(packs),
    )
    return _journaled(catalog)


def _price(draw: st.DrawFn, key: str, *, trials: bool) -> Price:
    interval = draw(st.sampled_from(["month", "year", None]))
    trial = draw(st.none() | st.integers(1, 730)) if trials and interval else None
    currency = draw(st.sampled_from(sorted(CURRENCIES)))
    return Price(key, draw(st.integers(0, MAX_UNITS)), currency, interval, trial)


def _journaled(catalog: Catalog) -> Catalog:
    given = [offer for plan in catalog.plans.values() for offer in plan.features.values()]
    given += [offer for add_on in catalog.add_ons.values() for offer in add_on.features.values()]
    lifelong = {
        offer.feature
        for offer in given
        for limit in offer.limits
        if limit.window is WindowKind.LIFETIME
    }
    return replace(
        catalog,
        features=MappingProxyType(
            {
                key: replace(f, durability=Durability.JOURNALED) if key in lifelong else f
                for key, f in catalog.features.items()
            }
        ),
    )
