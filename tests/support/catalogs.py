"""Catalogs made by Hypothesis, all of them valid, and written as the files they could come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from hypothesis import strategies as st

from api.catalog.currencies import CURRENCIES
from api.domain.catalog import (
    MAX_UNITS,
    AddOn,
    Anchor,
    Audience,
    Catalog,
    CustomerType,
    Durability,
    Feature,
    FeatureKind,
    Limit,
    OutageMode,
    OutagePolicy,
    PastDuePolicy,
    Plan,
    PlanFeature,
    Price,
    Scalar,
    WindowKind,
)

NEVER_ANCHORED = (WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME)

keys = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12
).filter(lambda text: bool(text.strip()))
units = st.none() | st.integers(0, MAX_UNITS)
codes = st.none() | st.sampled_from(["FULL", "FREE_CAP_EXCEEDED", "NO_MORE_2"])
numbers = st.integers(-MAX_UNITS, MAX_UNITS) | st.floats(-1e15, 1e15)


@st.composite
def limits(draw: st.DrawFn, window: WindowKind) -> Limit:
    anchors = [Anchor.CALENDAR] if window in NEVER_ANCHORED else list(Anchor)
    if window is WindowKind.BILLING_PERIOD:
        anchors = [Anchor.BILLING]
    statuses = [None, 402, 403] if window is WindowKind.LIFETIME else [None, 402, 403, 429]
    return Limit(
        window,
        draw(units),
        anchor=draw(st.sampled_from(anchors)),
        code=draw(codes),
        status=draw(st.sampled_from(statuses)),
        shadow=draw(st.booleans()),
    )


@st.composite
def offers(
    draw: st.DrawFn, feature: Feature, values: st.SearchStrategy[Scalar], *, adding: bool
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
    return PlanFeature(feature.key, limits=tuple(draw(limits(window)) for window in windows))


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
def catalogs(draw: st.DrawFn) -> Catalog:
    """Any valid catalog; its first plan is the free one, gives nothing and serves everyone."""
    known = {
        k: draw(features(k)) for k in draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    }
    type_keys = draw(st.lists(keys, min_size=1, max_size=3, unique=True))
    plan_keys = draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    ranks = draw(st.just(range(len(plan_keys))) | st.permutations(range(len(plan_keys))))
    values = {key: draw(st.sampled_from([names, numbers, st.booleans()])) for key in known}
    prices = iter(range(1000))

    def some_offers(*, adding: bool) -> Mapping[str, PlanFeature]:
        chosen = draw(st.lists(st.sampled_from(list(known)), unique=True))
        return MappingProxyType(
            {key: draw(offers(known[key], values[key], adding=adding)) for key in chosen}
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
        )
        for place, key in enumerate(plan_keys)
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


def toml_of(catalog: Catalog) -> str:
    """Write the file that reads as ``catalog``, every field said."""
    lines = [
        f"product = {_text(catalog.product)}",
        f"default_customer_type = {_text(catalog.default_customer_type)}",
        f"trials.reminder_days = {catalog.trial_reminder_days}",
        f"past_due.access = {_text(catalog.past_due)}",
        f"past_due.notice = {_text(catalog.past_due_notice)}",
    ]
    if catalog.grace_days is not None:
        lines.append(f"past_due.grace_days = {catalog.grace_days}")
    for kind in catalog.customer_types.values():
        lines += [f"[customer_types.{kind.key}]", f"name = {_text(kind.name)}"]
        lines.append(f"default_plan = {_text(kind.default_plan)}")
    for feature in catalog.features.values():
        lines += [f"[features.{feature.key}]", *_feature(feature)]
    for plan in catalog.plans.values():
        lines += [f"[plans.{plan.key}]", f"name = {_text(plan.name)}", f"rank = {plan.rank}"]
        lines.append(f"public = {_scalar(plan.public)}")
        lines.append(f"customer_types = {_list(plan.customer_types)}")
        lines += _holder(catalog, f"plans.{plan.key}", plan)
    for add_on in catalog.add_ons.values():
        lines += [f"[add_ons.{add_on.key}]", f"name = {_text(add_on.name)}"]
        lines.append(f"plans = {_list(add_on.plans)}")
        lines += _holder(catalog, f"add_ons.{add_on.key}", add_on)
    return "\n".join(lines) + "\n"


def _feature(feature: Feature) -> list[str]:
    lines = [f"name = {_text(feature.name)}", f"kind = {_text(feature.kind)}"]
    if feature.unit is not None:
        lines.append(f"unit = {_text(feature.unit)}")
    if feature.kind in (FeatureKind.METERED, FeatureKind.ALLOCATION):
        lines.append(f"durability = {_text(feature.durability)}")
        lines.append(f"replay_seconds = {feature.replay_seconds}")
    bounded = feature.outage.mode is OutageMode.BOUNDED
    outage = f"{{ bounded = {feature.outage.units} }}" if bounded else _text(feature.outage.mode)
    return [*lines, f"outage = {outage}"]


def _holder(catalog: Catalog, path: str, holder: Plan | AddOn) -> list[str]:
    lines = [f"[{path}.prices]"]
    for price in holder.prices:
        trial = "" if price.trial_days is None else f", trial_days = {price.trial_days}"
        lines.append(
            f"{price.key} = {{ amount_minor = {price.amount_minor}, "
            f'currency = "{price.currency}", interval = "{price.interval or "once"}"{trial} }}'
        )
    lines.append(f"[{path}.features]")
    return lines + [
        _offer(offer, catalog.features[key].kind) for key, offer in holder.features.items()
    ]


def _offer(offer: PlanFeature, kind: FeatureKind) -> str:
    if not offer.enabled:
        return f"{offer.feature} = false"
    return f"{offer.feature} = {_given(offer, kind)}"


def _given(offer: PlanFeature, kind: FeatureKind) -> str:
    match kind:
        case FeatureKind.BOOLEAN:
            return "true"
        case FeatureKind.VALUE:
            return _scalar(offer.value if offer.value is not None else "")
        case FeatureKind.ALLOCATION:
            return _limit(offer.limits[0])
        case FeatureKind.METERED:
            windows = [f"{limit.window} = {_limit(limit)}" for limit in offer.limits]
            return f"{{ {', '.join(windows)} }}" if windows else '"unlimited"'


def _limit(limit: Limit) -> str:
    said = [f"units = {_units(limit)}", f"shadow = {_scalar(limit.shadow)}"]
    if limit.window not in NEVER_ANCHORED:
        said.append(f"anchor = {_text(limit.anchor)}")
    if limit.code is not None:
        said.append(f"code = {_text(limit.code)}")
    if limit.status is not None:
        said.append(f"status = {limit.status}")
    return f"{{ {', '.join(said)} }}"


def _units(limit: Limit) -> str:
    return '"unlimited"' if limit.units is None else str(limit.units)


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, items))}]"


def _scalar(value: Scalar) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case _:
            return repr(value)


def _text(value: str) -> str:
    return json.dumps(str(value), ensure_ascii=False)
