"""Which plans would let a refused call pass, as far as that is known without reading the record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from api.domain.catalog import Anchor, Catalog, Limit, Plan, PlanFeature, WindowKind
from api.domain.combining import combine
from api.domain.windows import FIXED_SECONDS, Frame, window_at


class Promised(NamedTuple):
    """What an override sets in one window; ``units`` None is unlimited."""

    window: WindowKind
    units: int | None
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Holding:
    """What a denial must know of the customer: its type, its plans, and what stays with others.

    ``overridden`` holds by feature the limits that an override sets, which replace those of any
    plan; ``add_ons`` are (key, quantity) pairs. ``zone`` None is not known.
    """

    customer_type: str
    plan: str
    plans: tuple[str, ...]
    withheld: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """Features that an override takes away, so that no plan would bring them back."""
    overridden: Mapping[str, tuple[Promised, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    add_ons: tuple[tuple[str, int], ...] = ()
    zone: str | None = None


class Known(NamedTuple):
    """Units used and held in a present window, and since when; None: ever, or not known."""

    used: int
    since_s: int | None


class Asked(NamedTuple):
    """A refused call, and what is known of the customer's use of that feature.

    ``credits_lack``: only a plan that includes the units helps, as credits do not cover them.
    """

    feature: str
    units: int
    known: Mapping[WindowKind, Known]
    at_s: int
    credits_lack: bool = False


def plans_that_allow(catalog: Catalog, holding: Holding, asked: Asked) -> tuple[str, ...]:
    """Return the public plans, lowest rank first, in which the call would pass now.

    Each is judged as if it were the customer's only plan, with the overrides it has and those of
    its add-ons that are sold beside it; a plan that does not offer the feature itself is not
    named. Where the customer has every window that the plan limits, the answer is exact. Else
    the use of a window is only known to be at least that of the windows that began within it:
    a plan that would surely refuse is never named, one that would allow always is, and one of
    which neither is known is named too.
    """
    if asked.feature in holding.blocked:
        return ()
    found = [
        plan
        for plan in catalog.plans.values()
        if plan.public
        and plan.key not in holding.plans
        and plan.serves(holding.customer_type)
        and _would_allow(catalog, holding, plan, asked)
    ]
    return tuple(p.key for p in sorted(found, key=lambda p: (p.rank, p.key)))


def paying_would_allow(catalog: Catalog, holding: Holding, asked: Asked) -> bool:
    """Tell whether a plan that is withheld until a payment would let the call pass."""
    return asked.feature not in holding.blocked and any(
        _would_allow(catalog, holding, catalog.plans[key], asked)
        for key in holding.withheld
        if key in catalog.plans
    )


def _would_allow(catalog: Catalog, holding: Holding, plan: Plan, asked: Asked) -> bool:
    offer = plan.features.get(asked.feature)
    if offer is None or not offer.enabled:
        return False
    limits: Collection[Limit] = offer.limits
    if holding.add_ons or asked.feature in holding.overridden:
        limits = _together(catalog, holding, plan, offer)
    if asked.credits_lack and not any(limit.overage for limit in limits):
        return False
    for limit in limits:
        lets_pass = limit.shadow or (limit.overage and not asked.credits_lack)
        if (
            limit.units is not None
            and not lets_pass
            and _least_used(holding, asked, limit) + asked.units > limit.units
        ):
            return False
    return True


def _together(
    catalog: Catalog, holding: Holding, plan: Plan, offer: PlanFeature
) -> Collection[Limit]:
    """Return the limits of ``offer`` with what stays of the customer's add-ons and overrides."""
    feature = offer.feature
    stay = [
        (catalog.add_ons[key], n)
        for key, n in holding.add_ons
        if key in catalog.add_ons and catalog.add_ons[key].sold_beside(plan.key)
    ]
    extra = [(x.features[feature], n) for x, n in stay if feature in x.features]
    together = combine([offer], extra)
    limits = {} if together is None else {limit.window: limit for limit in together.limits}
    for window, units, shadow in holding.overridden.get(feature, ()):
        known = limits.get(window)
        overage = known is not None and known.overage
        limits[window] = Limit(window, units, shadow=shadow, overage=overage)
    return limits.values()


def _least_used(holding: Holding, asked: Asked, limit: Limit) -> int:
    """Return what was used at least in the window of ``limit``."""
    known = asked.known.get(limit.window)
    if known is not None:
        return known.used
    if limit.window is WindowKind.LIFETIME:
        return max((k.used for k in asked.known.values()), default=0)
    frame = _frame(holding, limit)
    if frame is None:
        return 0
    began_s = window_at(frame, datetime.fromtimestamp(asked.at_s, UTC)).starts_at.timestamp()
    within = (
        k.used for k in asked.known.values() if k.since_s is not None and k.since_s >= began_s
    )
    return max(within, default=0)


def _frame(holding: Holding, limit: Limit) -> Frame | None:
    """Return where the window would lie; None: a billing period that may begin anew, or no zone."""
    if limit.window in FIXED_SECONDS:
        return Frame(limit.window)
    if limit.anchor is Anchor.BILLING or limit.window is WindowKind.BILLING_PERIOD:
        return None
    return None if holding.zone is None else Frame(limit.window, zone=holding.zone)
