"""Plans and add-ons, read from the catalog file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from api.catalog.credits import read_plan_credits
from api.catalog.fields import Table, hint, name_of, shown
from api.catalog.limits import read_offer
from api.catalog.prices import Sold, read_prices
from api.domain.catalog import AddOn, FeatureKind, Plan, PlanFeature

_MAX_RANK = 1_000_000


def read_plans(
    root: Table, kinds: Mapping[str, FeatureKind | None], customer_types: Collection[str]
) -> dict[str, Plan]:
    """Read every plan; ranks are as written, or follow the file with the first one lowest.

    ``kinds`` holds every declared feature, with None where its own kind could not be read.
    """
    plans: dict[str, Plan] = {}
    for place, (key, table) in enumerate(root.tables("plans", "plan")):
        rank = table.whole("rank", 0, _MAX_RANK)
        plans[key] = Plan(
            key=key,
            name=table.text("name", default=name_of(key)),
            public=table.flag("public", default=True),
            rank=place if rank is None else rank,
            customer_types=table.references("customer_types", customer_types, "customer type"),
            prices=read_prices(table, Sold.PLAN),
            features=_offers(table, kinds),
            credits=read_plan_credits(table),
        )
        table.close()
    return plans


def read_add_ons(
    root: Table, kinds: Mapping[str, FeatureKind | None], plans: Collection[str]
) -> dict[str, AddOn]:
    """Read every add-on."""
    add_ons: dict[str, AddOn] = {}
    for key, table in root.tables("add_ons", "add-on"):
        add_ons[key] = AddOn(
            key=key,
            name=table.text("name", default=name_of(key)),
            plans=table.references("plans", plans, "plan"),
            prices=read_prices(table, Sold.ADD_ON),
            features=_offers(table, kinds),
        )
        for feature, offer in add_ons[key].features.items():
            if not offer.enabled:
                table.notes.add(
                    (*table.path, "features", feature),
                    f"an add-on only adds: leave {feature} out instead of false",
                )
        table.close()
    return add_ons


def _offers(table: Table, kinds: Mapping[str, FeatureKind | None]) -> Mapping[str, PlanFeature]:
    offered: dict[str, PlanFeature] = {}
    features = table.table("features")
    for key in features.names() if features is not None else ():
        if features is None or key not in kinds:
            table.notes.add(
                (*table.path, "features", key),
                f"unknown feature {shown(key)}{hint(key, kinds)}",
            )
            continue
        kind = kinds[key]
        offer = None if kind is None else read_offer(features, key, kind)
        if offer is not None:
            offered[key] = offer
    return MappingProxyType(offered)
