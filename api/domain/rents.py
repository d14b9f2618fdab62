"""What so many of a price cost, and what that comes to in a month.

The terms are those of Stripe's prices, which other providers share: a quantity may be counted in
packs, a price may have tiers. Amounts are in the currency's minor units and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

_MONTHS = {
    "day": Fraction(12, 365),
    "week": Fraction(12, 52),
    "month": Fraction(1),
    "year": Fraction(12),
}


@dataclass(frozen=True, slots=True)
class Tier:
    """Up to and with ``up_to`` of it, or without end, each costs ``each`` and the tier ``flat``."""

    up_to: int | None
    each: Decimal
    flat: Decimal


def packs(quantity: int, of: int, *, up: bool) -> int:
    """Return in how many packs ``of`` so many a quantity is billed, the last one whole or not."""
    return -(-quantity // of) if up else quantity // of


def graduated(quantity: int, tiers: Sequence[Tier]) -> Decimal | None:
    """Return what a quantity costs where each unit costs what its own tier says.

    The flat amount of every tier that is reached is added. None where no tier reaches so far, and
    where none of it would cost a flat amount, as providers differ in that.
    """
    total, below = Decimal(0), 0
    if not _says(quantity, tiers):
        return None
    for tier in tiers:
        within = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if quantity > below:
            total += tier.flat + tier.each * (within - below)
        below = within
    return total


def volume(quantity: int, tiers: Sequence[Tier]) -> Decimal | None:
    """Return what a quantity costs where all units cost what the tier says that they reach.

    None as in ``graduated``.
    """
    if not _says(quantity, tiers):
        return None
    tier = next(one for one in tiers if one.up_to is None or quantity <= one.up_to)
    return tier.flat + tier.each * quantity


def _says(quantity: int, tiers: Sequence[Tier]) -> bool:
    if not tiers or (quantity == 0 and tiers[0].flat):
        return False
    last = tiers[-1].up_to
    return last is None or quantity <= last


def in_a_month(amount: Decimal, interval: str, every: int) -> Fraction | None:
    """Return what ``amount`` in ``every`` intervals comes to in a month; None for unknown words.

    A year has 12 months, 52 weeks and 365 days.
    """
    months = _MONTHS.get(interval)
    if months is None or every < 1:
        return None
    return Fraction(amount) / (months * every)
