"""Prices of plans, add-ons and packs, read from the catalog file."""

from __future__ import annotations

import re
from enum import StrEnum

from api.catalog.currencies import CURRENCIES
from api.catalog.fields import Table, hint, shown
from api.domain.catalog import MAX_UNITS, Price

_INTERVALS = {"month": "month", "year": "year", "once": None}
_LOOKUP_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")
_MAX_TRIAL_DAYS = 730


class Sold(StrEnum):
    """What a price buys; it decides which intervals and trials make sense."""

    PLAN = "a plan"
    ADD_ON = "an add-on"
    PACK = "a pack"


def read_prices(table: Table, sold: Sold) -> tuple[Price, ...]:
    """Read the prices of one plan, add-on or pack, in the order of the file."""
    prices = table.table("prices")
    if prices is None:
        return ()
    read = []
    for key in prices.names():
        if not _LOOKUP_KEY.fullmatch(key):
            prices.note(key, f"price key {shown(key)} must be 1 to 200 letters, digits or _ . : -")
        price = prices.table(key)
        if price is not None:
            read.append(_price(key, price, sold))
            price.close()
    return tuple(read)


def _price(key: str, table: Table, sold: Sold) -> Price:
    for required in ("amount_minor", "currency", "interval"):
        if required not in table:
            table.missing(required)
    amount_minor = table.whole("amount_minor", 0, MAX_UNITS)
    interval = table.raw("interval")
    if interval is not None and (not isinstance(interval, str) or interval not in _INTERVALS):
        table.note("interval", f'interval must be "month", "year" or "once", not {shown(interval)}')
    elif sold is Sold.PACK and interval not in (None, "once"):
        table.note(
            "interval", f'a pack is bought once: interval must be "once", not {shown(interval)}'
        )
    trial_days = table.whole("trial_days", 1, _MAX_TRIAL_DAYS)
    if trial_days is not None and sold is Sold.ADD_ON:
        table.note("trial_days", "an add-on has no trial of its own; its plan's covers it")
    elif trial_days is not None and sold is Sold.PACK:
        table.note("trial_days", "a pack has no trial: its credits are paid for at once")
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
