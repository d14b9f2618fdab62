"""Credits in the catalog file: what actions cost, the credits of plans, and packs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from api.catalog.fields import Table, hint, name_of, shown
from api.catalog.prices import Sold, read_prices
from api.domain.catalog import (
    MAX_UNITS,
    Bucket,
    CreditCost,
    FeatureKind,
    Pack,
    PlanCredits,
    Rounding,
)

_MAX_PRIORITY = 1_000_000
_MAX_EXPIRES_DAYS = 36_500

_PLAN_PRIORITY = PlanCredits(units=1).priority
_PACK_PRIORITY = Pack("", "", credits=1).priority


class _PackBucket(StrEnum):
    """The buckets a purchase may fill: what it brings outlives every paid period."""

    PERMANENT = Bucket.PERMANENT.value
    PROMOTIONAL = Bucket.PROMOTIONAL.value


def read_costs(root: Table, kinds: Mapping[str, FeatureKind | None]) -> dict[str, CreditCost]:
    """Read what actions cost; ``kinds`` holds every declared feature, None where it is unreadable.

    A cost whose fields are wrong is there with defaults, so that what relies on it is not told off
    as well.
    """
    costs: dict[str, CreditCost] = {}
    outer = root.table("costs")
    for key in outer.names() if outer is not None else ():
        if outer is None or key not in kinds:
            root.notes.add(("costs", key), f"unknown feature {shown(key)}{hint(key, kinds)}")
            continue
        kind = kinds[key]
        if kind is not None and kind is not FeatureKind.METERED:
            outer.note(key, f"{key} is of kind {kind}: only a metered feature can cost credits")
        table = outer.table(key)
        costs[key] = CreditCost(key, credits=1) if table is None else _cost(key, table)
    return costs


def _cost(feature: str, table: Table) -> CreditCost:
    if "credits" not in table:
        table.missing("credits")
    cost = CreditCost(
        feature=feature,
        credits=table.whole("credits", 1, MAX_UNITS) or 1,
        per=table.whole("per", 1, MAX_UNITS) or 1,
        rounding=table.choice("rounding", Rounding) or Rounding.UP,
        minimum=table.whole("minimum", 0, MAX_UNITS) or 0,
    )
    table.close()
    return cost


def read_plan_credits(plan: Table) -> PlanCredits | None:
    """Read the credits that arrive with each paid month of one plan, None where none do."""
    table = plan.table("credits")
    if table is None:
        return None
    if "units" not in table:
        table.missing("units")
    units = table.whole("units", 1, MAX_UNITS)
    trial_units = table.whole("trial_units", 0, MAX_UNITS) or 0
    if units is not None and trial_units > units:
        table.note(
            "trial_units",
            f"a trial gives no more than a paid month: trial_units is {trial_units}, "
            f"units only {units}",
        )
    given = PlanCredits(
        units=units or 1,
        trial_units=trial_units,
        rollover=table.whole("rollover", 0, MAX_UNITS) or 0,
        priority=_priority(table, _PLAN_PRIORITY),
    )
    table.close()
    return given


def read_packs(
    root: Table,
    features: Collection[str],
    costs: Collection[str],
    customer_types: Collection[str],
) -> dict[str, Pack]:
    """Read every pack of credits; those of ``features`` that cost any are ``costs``."""
    packs: dict[str, Pack] = {}
    for key, table in root.tables("packs", "pack"):
        if "credits" not in table:
            table.missing("credits")
        packs[key] = Pack(
            key=key,
            name=table.text("name", default=name_of(key)),
            credits=table.whole("credits", 1, MAX_UNITS) or 1,
            public=table.flag("public", default=True),
            bucket=_bucket(table),
            priority=_priority(table, _PACK_PRIORITY),
            expires_days=table.whole("expires_days", 1, _MAX_EXPIRES_DAYS),
            prices=read_prices(table, Sold.PACK),
            features=_paid_for(table, features, costs),
            customer_types=table.references("customer_types", customer_types, "customer type"),
        )
        table.close()
    return packs


def _bucket(table: Table) -> Bucket:
    if table.raw("bucket") == Bucket.SUBSCRIPTION:
        table.note(
            "bucket",
            'a pack is bought for good: its bucket is "permanent" or "promotional"; '
            "credits of a paid period are a plan's",
        )
        return Bucket.PERMANENT
    return Bucket(table.choice("bucket", _PackBucket) or Bucket.PERMANENT)


def _paid_for(table: Table, features: Collection[str], costs: Collection[str]) -> frozenset[str]:
    named = table.references("features", features, "feature")
    value = table.raw("features")
    for index, feature in enumerate(value if isinstance(value, list) else ()):
        if isinstance(feature, str) and feature in named and feature not in costs:
            table.notes.add(
                (*table.path, "features", index),
                f"{feature} costs no credits, so there is nothing that the pack could pay for",
            )
    return named


def _priority(table: Table, default: int) -> int:
    priority = table.whole("priority", 0, _MAX_PRIORITY)
    return default if priority is None else priority
