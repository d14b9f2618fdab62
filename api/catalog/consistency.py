"""Rules that hold between the parts of a catalog, each checked over the whole of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from api.catalog.fields import Notes
from api.catalog.positions import KeyPath
from api.domain.catalog import (
    AddOn,
    Catalog,
    FeatureKind,
    OutageMode,
    Pack,
    Plan,
    PlanFeature,
    Price,
    WindowKind,
)


def check(catalog: Catalog, ranks: Mapping[str, bool], notes: Notes) -> None:
    """Note what does not fit together; ``ranks`` tells which plans name their rank."""
    _check_prices(catalog, notes)
    _check_ranks(catalog, ranks, notes)
    _check_default_plans(catalog, notes)
    _check_values(catalog, notes)
    _check_add_ons(catalog, notes)
    _check_costs(catalog, notes)
    _check_overage(catalog, notes)


def never_resets(catalog: Catalog, feature: str) -> bool:
    """Tell whether ``feature`` is held or limited for life: its answers must be journaled."""
    if catalog.features[feature].kind is FeatureKind.ALLOCATION:
        return True
    return any(
        limit.window is WindowKind.LIFETIME
        for _, offer in _offers(catalog)
        if offer.feature == feature
        for limit in offer.limits
    )


def _offers(catalog: Catalog) -> Iterator[tuple[KeyPath, PlanFeature]]:
    for path, holder in _holders(catalog):
        for key, offer in holder.features.items():
            yield (*path, "features", key), offer


def _holders(catalog: Catalog) -> Iterator[tuple[KeyPath, Plan | AddOn]]:
    for plan in catalog.plans.values():
        yield ("plans", plan.key), plan
    for add_on in catalog.add_ons.values():
        yield ("add_ons", add_on.key), add_on


def _prices(catalog: Catalog) -> Iterator[tuple[KeyPath, Price]]:
    sold: list[tuple[KeyPath, Plan | AddOn | Pack]] = [*_holders(catalog)]
    sold += [(("packs", pack.key), pack) for pack in catalog.packs.values()]
    for path, part in sold:
        for price in part.prices:
            yield (*path, "prices", price.key), price


def _check_prices(catalog: Catalog, notes: Notes) -> None:
    first: dict[str, KeyPath] = {}
    for path, price in _prices(catalog):
        if price.key in first:
            notes.add(
                path,
                f'price key "{price.key}" stands in line {notes.line(first[price.key])} too: '
                "a lookup key names one price",
            )
        first.setdefault(price.key, path)


def _check_ranks(catalog: Catalog, ranks: Mapping[str, bool], notes: Notes) -> None:
    if not any(ranks.values()):
        return
    first: dict[int, str] = {}
    for plan in catalog.plans.values():
        path = ("plans", plan.key, "rank")
        if not ranks[plan.key]:
            notes.add(path, f"plan {plan.key} needs a rank too: either every plan has one or none")
        elif plan.rank in first:
            notes.add(path, f"rank {plan.rank} is plan {first[plan.rank]}'s already")
        first.setdefault(plan.rank, plan.key)


def _check_default_plans(catalog: Catalog, notes: Notes) -> None:
    for kind in catalog.customer_types.values():
        path = ("customer_types", kind.key, "default_plan")
        plan = catalog.plans.get(kind.default_plan)
        if plan is None:
            continue
        if not plan.serves(kind.key):
            notes.add(path, f"plan {plan.key} does not serve customers of type {kind.key}")
        if any(price.amount_minor > 0 for price in plan.prices):
            notes.add(path, f"a default plan is free, and plan {plan.key} has a price")


def _check_values(catalog: Catalog, notes: Notes) -> None:
    """A value feature has one type everywhere, or the larger of two would mean nothing."""
    first: dict[str, tuple[str, KeyPath]] = {}
    for path, offer in _offers(catalog):
        if offer.value is None:
            continue
        type_ = _type(offer.value)
        known, known_path = first.setdefault(offer.feature, (type_, path))
        if type_ != known:
            notes.add(
                path,
                f"{offer.feature} is {type_} here, but {known} in line {notes.line(known_path)}",
            )


def _type(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case _:
            return "a number"


def _check_add_ons(catalog: Catalog, notes: Notes) -> None:
    """An add-on's units join a plan's limit of the same window; without one they do nothing."""
    for add_on in catalog.add_ons.values():
        plans = [p for p in catalog.plans.values() if not add_on.plans or p.key in add_on.plans]
        for key, offer in add_on.features.items():
            offers = [plan.features.get(key) for plan in plans]
            granted = [o for o in offers if o is not None and o.enabled]
            useful = {limit.window for o in granted for limit in o.limits}
            path = ("add_ons", add_on.key, "features", key)
            metered = catalog.features[key].kind is FeatureKind.METERED
            if metered and offer.enabled and not offer.limits and useful:
                notes.add(
                    path,
                    f"{key} has limits in the plans of this add-on: say of which window it is "
                    f'unlimited, as {{ {min(useful)} = "unlimited" }}',
                )
            if len(granted) < len(plans):
                # On a plan without the feature the add-on's limits stand by themselves.
                continue
            for limit in offer.limits:
                if limit.window not in useful:
                    notes.add(
                        (*path, limit.window.value),
                        f"{key} has no limit per {limit.window} in the plans of this add-on, "
                        "so there is nothing to add to",
                    )


def _check_costs(catalog: Catalog, notes: Notes) -> None:
    """Credits are judged by the record alone, so what costs any cannot pass without it."""
    for key in catalog.costs:
        feature = catalog.features.get(key)
        if feature is not None and feature.outage.mode is not OutageMode.CLOSED:
            notes.add(
                ("features", key, "outage"),
                f'{key} costs credits, which never pass unjudged: its outage must be "closed"',
            )


def _check_overage(catalog: Catalog, notes: Notes) -> None:
    """What is over a limit is paid with credits only where the feature has a cost."""
    for path, offer in _offers(catalog):
        key = offer.feature
        for limit in offer.limits:
            if not limit.overage:
                continue
            if catalog.features[key].kind is FeatureKind.ALLOCATION:
                place: KeyPath = (*path, "overage")
                notes.add(place, f"{key} is an allocation: what is held costs no credits")
            elif key not in catalog.costs:
                place = (*path, limit.window.value, "overage")
                notes.add(place, f"{key} costs no credits: say what is over costs in [costs.{key}]")
    for add_on in catalog.add_ons.values():
        for key, offer in add_on.features.items():
            for limit in offer.limits:
                cap = _cap_of(catalog, add_on, key, limit.window) if limit.overage else None
                if cap is not None:
                    notes.add(
                        ("add_ons", add_on.key, "features", key, limit.window.value, "overage"),
                        f"units join the limit of plan {cap}, and past that they are refused: "
                        "overage is for the plan to say",
                    )


def _cap_of(catalog: Catalog, add_on: AddOn, feature: str, window: WindowKind) -> str | None:
    """Return a plan beside which the add-on is sold and whose limit there refuses what is over."""
    for plan in catalog.plans.values():
        offer = plan.features.get(feature) if add_on.sold_beside(plan.key) else None
        if offer is not None and any(x.window is window and not x.overage for x in offer.limits):
            return plan.key
    return None
