"""What a customer may do, derived from what is sold and what it holds.

Of a customer's plans the largest limit counts, add-ons add theirs times quantity, an override
replaces. The same facts at the same instant always give the same answer; presence of a cache
affects cost, never meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from api.domain.catalog import (
    Anchor,
    Catalog,
    Feature,
    FeatureKind,
    Limit,
    PastDuePolicy,
    Plan,
    PlanFeature,
    Price,
    Scalar,
    WindowKind,
)
from api.domain.combining import combine
from api.domain.plan_credits import next_start
from api.domain.windows import Frame, Window


class SubscriptionStatus(StrEnum):
    """Where a subscription stands, in the provider-neutral words of the contract."""

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    CANCELED = "canceled"
    UNPAID = "unpaid"
    INCOMPLETE_EXPIRED = "incomplete_expired"


GIVING = frozenset(
    {SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE}
)
"""Statuses that can give a plan; ``past_due`` only while the catalog's policy keeps access."""

TRIAL_GRACE = timedelta(days=3)
"""How long a trial gives its plan past its end while the provider is not heard: as long as Stripe
goes on delivering an event."""

WITHHELD = frozenset(
    {SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID, SubscriptionStatus.PAUSED}
)
"""Statuses in which a payment, or a resumption, would bring the plan back."""


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """One subscription as the record holds it. ``add_ons`` are (key, quantity) pairs."""

    id: int
    status: SubscriptionStatus
    plan: str | None
    add_ons: tuple[tuple[str, int], ...] = ()
    price: str | None = None
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    billing_anchor: datetime | None = None
    trial_ends_at: datetime | None = None
    cancel_at_period_end: bool = False
    ends_at: datetime | None = None
    """When access ends by itself, with no event needed; None while it renews."""
    paid_until: datetime | None = None
    """The end of the latest period that an invoice was paid for."""


@dataclass(frozen=True, slots=True)
class OverrideFacts:
    """A promise to one customer about one feature; what is None stays as the plan says.

    ``limits`` replace the plan's limits of the same window and add those it has not.
    """

    feature: str
    enabled: bool | None = None
    value: Scalar | None = None
    limits: tuple[Limit, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """All that the record says about one customer's rights, read in one snapshot."""

    id: int
    key: str
    type: str
    created_at: datetime
    timezone: str = "UTC"
    version: int = 0
    subscriptions: tuple[SubscriptionFacts, ...] = ()
    overrides: tuple[OverrideFacts, ...] = ()
    pins: Mapping[tuple[str, WindowKind], Window] | None = None


@dataclass(frozen=True, slots=True)
class EntitledLimit:
    """A limit in force: what may be used, and the frame that its windows lie in."""

    window: WindowKind
    units: int | None
    frame: Frame
    code: str | None = None
    status: int | None = None
    shadow: bool = False
    overage: bool = False


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a customer may do with one feature, now. ``limits`` are in order of window length."""

    feature: Feature
    granted: bool
    value: Scalar | None = None
    limits: tuple[EntitledLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Entitlements:
    """Everything one customer may do from ``at`` until ``valid_until``.

    ``withheld`` names the plans that a payment would bring back; ``plan`` is the highest rank of
    ``plans``.
    """

    plan: str
    plans: tuple[str, ...]
    withheld: tuple[str, ...]
    add_ons: tuple[tuple[str, int], ...]
    features: Mapping[str, Entitlement]
    valid_until: datetime | None


def entitle(catalog: Catalog, facts: CustomerFacts, at: datetime) -> Entitlements:
    """Derive what ``facts`` entitle to at that instant.

    Cost: O(features x (plans + add-ons + overrides)), no I/O.
    """
    giving = giving_of(catalog, facts, at)
    plans = _held_plans(catalog, facts, giving)
    add_ons = tuple(
        sorted((key, n) for s in giving for key, n in s.add_ons if n > 0 and key in catalog.add_ons)
    )
    overrides = in_force(facts, at)
    frames = _Frames(catalog, facts, giving)
    features = {
        key: _entitlement(catalog, feature, plans, add_ons, overrides.get(key), frames)
        for key, feature in catalog.features.items()
    }
    withheld = {
        s.plan
        for s in facts.subscriptions
        if s.status in WITHHELD
        and s not in giving
        and s.plan in catalog.plans
        and not _ended(s, at)
    }
    return Entitlements(
        plan=max(plans, key=lambda p: (p.rank, p.key)).key,
        plans=tuple(sorted(p.key for p in plans)),
        withheld=tuple(sorted(key for key in withheld if key)),
        add_ons=add_ons,
        features=features,
        valid_until=min(
            (t for t in (*_changes(facts), next_start(catalog, facts, giving, at)) if t and t > at),
            default=None,
        ),
    )


def in_force(facts: CustomerFacts, at: datetime) -> dict[str, OverrideFacts]:
    """Return by feature the overrides that hold at that instant."""
    return {o.feature: o for o in facts.overrides if o.expires_at is None or at < o.expires_at}


def counted(entitlement: Entitlement) -> tuple[EntitledLimit, ...] | None:
    """Return the limits whose windows are counted; None: nothing of the feature is.

    What is held of an allocation stays counted when no plan gives it any more: it is reported,
    and can be given back.
    """
    if entitlement.granted:
        return entitlement.limits
    if entitlement.feature.kind is not FeatureKind.ALLOCATION:
        return None
    return (EntitledLimit(WindowKind.LIFETIME, 0, Frame(WindowKind.LIFETIME)),)


class _Frames:
    """The frames of one customer's windows: its calendar, and its billing anchor."""

    def __init__(
        self, catalog: Catalog, facts: CustomerFacts, giving: list[SubscriptionFacts]
    ) -> None:
        self._zone = facts.timezone
        self._anchor = facts.created_at.replace(microsecond=0)
        self._months = 1
        paying = [s for s in giving if s.plan is not None]
        if paying:
            leading = max(paying, key=lambda s: (catalog.plans[s.plan or ""].rank, -s.id))
            anchor = leading.billing_anchor or leading.current_period_start
            if anchor is not None:
                self._anchor = anchor.replace(microsecond=0)
            price = _price(catalog, leading)
            self._months = 12 if price is not None and price.interval == "year" else 1

    def of(self, limit: Limit) -> Frame:
        billing = limit.anchor is Anchor.BILLING or limit.window is WindowKind.BILLING_PERIOD
        if limit.window in (WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME):
            return Frame(limit.window)
        if billing:
            return Frame(limit.window, anchor=self._anchor, period_months=self._months)
        return Frame(limit.window, zone=self._zone)


def _entitlement(
    catalog: Catalog,
    feature: Feature,
    plans: list[Plan],
    add_ons: tuple[tuple[str, int], ...],
    override: OverrideFacts | None,
    frames: _Frames,
) -> Entitlement:
    offers = [p.features[feature.key] for p in plans if feature.key in p.features]
    extra = [
        (catalog.add_ons[key].features[feature.key], n)
        for key, n in add_ons
        if feature.key in catalog.add_ons[key].features
    ]
    offered = combine(offers, extra)
    if override is not None:
        offered = _overridden(feature, offered, override)
    if offered is None:
        return Entitlement(feature, granted=False)
    limits = tuple(
        EntitledLimit(x.window, x.units, frames.of(x), x.code, x.status, x.shadow, x.overage)
        for x in offered.limits
    )
    return Entitlement(feature, granted=True, value=offered.value, limits=limits)


def _overridden(
    feature: Feature, offered: PlanFeature | None, override: OverrideFacts
) -> PlanFeature | None:
    if override.enabled is False:
        return None
    if offered is None:
        if override.enabled is None and override.value is None and not override.limits:
            return None
        offered = PlanFeature(feature.key, limits=())
    limits = {x.window: x for x in offered.limits}
    for limit in override.limits:
        known = limits.get(limit.window)
        limits[limit.window] = replace(
            limit,
            anchor=known.anchor if known else limit.anchor,
            code=limit.code or (known.code if known else None),
            status=limit.status or (known.status if known else None),
            overage=limit.overage or (known.overage if known else False),
        )
    if feature.kind is FeatureKind.ALLOCATION and not limits:
        # What is held must be counted, also while nothing limits it.
        limits[WindowKind.LIFETIME] = Limit(WindowKind.LIFETIME, None)
    return replace(
        offered,
        value=offered.value if override.value is None else override.value,
        limits=tuple(limits[kind] for kind in WindowKind if kind in limits),
    )


def _held_plans(
    catalog: Catalog, facts: CustomerFacts, giving: list[SubscriptionFacts]
) -> list[Plan]:
    held = {s.plan for s in giving if s.plan in catalog.plans}
    if not held:
        return [catalog.default_plan(facts.type)]
    plans = [catalog.plans[key] for key in held if key]
    return sorted(plans, key=lambda p: (-p.rank, p.key))


def giving_of(catalog: Catalog, facts: CustomerFacts, at: datetime) -> list[SubscriptionFacts]:
    """Return the subscriptions that give their plan and add-ons at that instant."""
    return [s for s in facts.subscriptions if gives(catalog, s, at)]


def gives(catalog: Catalog, subscription: SubscriptionFacts, at: datetime) -> bool:
    """Tell whether ``subscription`` gives its plan and add-ons at that instant."""
    if subscription.status not in GIVING or _ended(subscription, at):
        return False
    if subscription.plan is not None and subscription.plan not in catalog.plans:
        return False
    past_due = subscription.status is SubscriptionStatus.PAST_DUE
    return not (past_due and catalog.past_due is PastDuePolicy.WITHDRAW)


def last_instant(subscription: SubscriptionFacts) -> datetime | None:
    """Return when access ends by itself if nothing more is heard; None while it renews."""
    if subscription.status is SubscriptionStatus.TRIALING and subscription.trial_ends_at:
        silence = subscription.trial_ends_at + TRIAL_GRACE
        return min(silence, subscription.ends_at) if subscription.ends_at else silence
    return subscription.ends_at


def _ended(subscription: SubscriptionFacts, at: datetime) -> bool:
    last = last_instant(subscription)
    return last is not None and last <= at


def _changes(facts: CustomerFacts) -> Iterator[datetime]:
    """Yield the instants at which these facts change their meaning by themselves."""
    for override in facts.overrides:
        if override.expires_at is not None:
            yield override.expires_at
    for subscription in facts.subscriptions:
        last = last_instant(subscription)
        if subscription.status in GIVING | WITHHELD and last is not None:
            yield last


def _price(catalog: Catalog, subscription: SubscriptionFacts) -> Price | None:
    if subscription.plan is None or subscription.price is None:
        return None
    prices = catalog.plans[subscription.plan].prices
    return next((p for p in prices if p.key == subscription.price), None)
