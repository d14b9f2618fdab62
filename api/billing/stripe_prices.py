"""Stripe's recurring prices, and what so many of one cost.

Sources: the attributes ``billing_scheme``, ``tiers``, ``tiers_mode``, ``transform_quantity``,
``currency_options`` and ``recurring.usage_type`` of https://docs.stripe.com/api/prices/object, and
https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from api.domain import rents

PRICE = "headroom_price"
"""The key of ``metadata`` that keeps a price's name after its lookup key went to another price."""

EXPANDED = ("tiers", "currency_options")
"""What of a price Stripe tells only where it is asked to."""


class Recurring(msgspec.Struct):
    """How often it is billed, and for what: ``licensed`` quantities or ``metered`` use."""

    interval: str
    interval_count: int = 1
    usage_type: str = "licensed"


class _Tier(msgspec.Struct):
    up_to: int | None = None
    flat_amount: int | None = None
    flat_amount_decimal: Decimal | None = None
    unit_amount: int | None = None
    unit_amount_decimal: Decimal | None = None

    @property
    def meant(self) -> rents.Tier:
        each = _exact(self.unit_amount, self.unit_amount_decimal)
        flat = _exact(self.flat_amount, self.flat_amount_decimal)
        return rents.Tier(self.up_to, each or Decimal(0), flat or Decimal(0))


class _Rate(msgspec.Struct):
    unit_amount: int | None = None
    unit_amount_decimal: Decimal | None = None
    tiers: list[_Tier] | None = None


class _Packs(msgspec.Struct):
    divide_by: int
    round: str


class Price(_Rate, kw_only=True):
    """A price as an item of a subscription shows it."""

    id: str
    currency: str | None = None
    currency_options: dict[str, _Rate] | None = None
    billing_scheme: str = "per_unit"
    tiers_mode: str | None = None
    transform_quantity: _Packs | None = None
    recurring: Recurring | None = None
    lookup_key: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def name(self) -> str | None:
        """The catalog's name: a price that was replaced still sells what it was made for."""
        return self.lookup_key or (self.metadata or {}).get(PRICE) or None

    def cost(self, quantity: int, currency: str | None) -> Decimal | None:
        """Return what so many cost in an interval, in the minor units that Stripe counts in.

        Of metered use nothing is certain, so it costs 0. None where it cannot be told: the tiers,
        or the amounts in the subscription's ``currency``, are not shown, or are told in new words.
        """
        if self.recurring is not None and self.recurring.usage_type != "licensed":
            return Decimal(0) if self.recurring.usage_type == "metered" else None
        rate: _Rate | None = self
        if currency is not None and currency != self.currency:
            rate = (self.currency_options or {}).get(currency)
        if rate is None:
            return None
        match self.billing_scheme:
            case "per_unit":
                each = _exact(rate.unit_amount, rate.unit_amount_decimal)
                counted = self._counted(quantity)
                return None if each is None or counted is None else each * counted
            case "tiered":
                return self._of_tiers(quantity, rate.tiers)
            case _:
                return None

    def _of_tiers(self, quantity: int, tiers: list[_Tier] | None) -> Decimal | None:
        if tiers is None:
            return None
        meant = [tier.meant for tier in tiers]
        match self.tiers_mode:
            case "graduated":
                return rents.graduated(quantity, meant)
            case "volume":
                return rents.volume(quantity, meant)
            case _:
                return None

    def _counted(self, quantity: int) -> int | None:
        """Return the quantity that is billed. With tiers Stripe allows no packs."""
        packs = self.transform_quantity
        if packs is None:
            return quantity
        if packs.divide_by < 1 or packs.round not in ("up", "down"):
            return None
        return rents.packs(quantity, packs.divide_by, up=packs.round == "up")


def _exact(whole: int | None, decimal: Decimal | None) -> Decimal | None:
    """Return an amount: Stripe says it twice, whole only where it is."""
    if decimal is not None:
        return decimal
    return None if whole is None else Decimal(whole)
