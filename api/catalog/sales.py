"""Plans, add-ons and their prices, read from the catalog file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from api.catalog.currencies import CURRENCIES
from api.catalog.fields import Table, hint, shown
from api.catalog.limits import read_offer
from api.domain.catalog import MAX_UNITS, AddOn, FeatureKind, Plan, PlanFeature, Price

_INTERVALS = {"month": "month", "year": "year", "once": None}
_LOOKUP_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")
_MAX_TRIAL_DAYS = 730
_MAX_RANK = 1_000_000


def name_of(key: str) -> str:
    """Return the name of what the file leaves unnamed: ``tx_post`` is ``Tx post``."""
    return key.replace("_", " ").capitalize()


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
            prices=_prices(table, trials=True),
            features=_offers(table, kinds),
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
            prices=_prices(table, trials=False),
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


def _prices(table: Table, *, trials: bool) -> tuple[Price, ...]:
    prices = table.table("prices")
    if prices is None:
        return ()
    read = []
    for key in prices.names():
        if not _LOOKUP_KEY.fullmatch(key):
            prices.note(key, f"price key {shown(key)} must be 1 to 200 letters, digits or _ . : -")
        price = prices.table(key)
        if price is not None:
            read.append(_price(key, price, trials=trials))
            price.close()
    return tuple(read)


def _price(key: str, table: Table, *, trials: bool) -> Price:
    for required in ("amount_minor", "currency", "interval"):
        if required not in table:
            table.missing(required)
    amount_minor = table.whole("amount_minor", 0, MAX_UNITS)
    interval = table.raw("interval")
    if interval is not None and (not isinstance(interval, str) or interval not in _INTERVALS):
        table.note("interval", f'interval must be "month", "year" or "once", not {shown(interval)}')
    trial_days = table.whole("trial_days", 1, _MAX_TRIAL_DAYS)
    if trial_days is not None and not trials:
        table.note("trial_days", "an add-on has no trial of its own; its plan's covers it")
    elif trial_days is not None and interval == "once":
        table.note("trial_days", "a price paid once has no trial")
    return Price(
        key=key,
        amount_minor=amount_minor or 0,
        currency=_currency(table),
        interval=_INTERVALS.get(str(interval)),
        trial_days=trial_days,
    )


def _currency(table: Table) -> str:
    currency = table.raw("currency")
    if currency is None:
        return ""
    if not isinstance(currency, str) or currency not in CURRENCIES:
        table.note(
            "currency",
            f"currency must be a lower-case ISO 4217 code, not {shown(currency)}"
            + hint(currency, CURRENCIES),
        )
        return ""
    return currency
