"""A catalog written as the file that it could have been read from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from api.domain.catalog import (
    AddOn,
    Catalog,
    Feature,
    FeatureKind,
    Limit,
    OutageMode,
    Pack,
    Plan,
    PlanFeature,
    Price,
    Scalar,
)
from tests.support.catalogs import NEVER_ANCHORED


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
    for cost in catalog.costs.values():
        lines += [f"[costs.{cost.feature}]", f"credits = {cost.credits}", f"per = {cost.per}"]
        lines += [f"rounding = {_text(cost.rounding)}", f"minimum = {cost.minimum}"]
    for plan in catalog.plans.values():
        lines += [f"[plans.{plan.key}]", f"name = {_text(plan.name)}", f"rank = {plan.rank}"]
        lines.append(f"public = {_scalar(plan.public)}")
        lines.append(f"customer_types = {_list(plan.customer_types)}")
        lines += _holder(catalog, f"plans.{plan.key}", plan)
        if plan.credits is not None:
            lines.append(f"[plans.{plan.key}.credits]")
            lines += [f"{field} = {value}" for field, value in asdict(plan.credits).items()]
    for add_on in catalog.add_ons.values():
        lines += [f"[add_ons.{add_on.key}]", f"name = {_text(add_on.name)}"]
        lines.append(f"plans = {_list(add_on.plans)}")
        lines += _holder(catalog, f"add_ons.{add_on.key}", add_on)
    for pack in catalog.packs.values():
        lines += [f"[packs.{pack.key}]", *_pack(pack)]
    return "\n".join(lines) + "\n"


def _pack(pack: Pack) -> list[str]:
    lines = [
        f"name = {_text(pack.name)}",
        f"credits = {pack.credits}",
        f"public = {_scalar(pack.public)}",
        f"bucket = {_text(pack.bucket)}",
        f"priority = {pack.priority}",
        f"features = {_list(pack.features)}",
        f"customer_types = {_list(pack.customer_types)}",
    ]
    if pack.expires_days is not None:
        lines.append(f"expires_days = {pack.expires_days}")
    return [*lines, f"[packs.{pack.key}.prices]", *map(_price_line, pack.prices)]


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
    lines = [f"[{path}.prices]", *map(_price_line, holder.prices), f"[{path}.features]"]
    return lines + [
        _offer(offer, catalog.features[key].kind) for key, offer in holder.features.items()
    ]


def _price_line(price: Price) -> str:
    trial = "" if price.trial_days is None else f", trial_days = {price.trial_days}"
    return (
        f"{price.key} = {{ amount_minor = {price.amount_minor}, "
        f'currency = "{price.currency}", interval = "{price.interval or "once"}"{trial} }}'
    )


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
    if limit.overage:
        said.append('overage = "credits"')
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
