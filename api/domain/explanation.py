"""Why a customer may do what it may: everything that spoke for or against one feature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import Catalog, PastDuePolicy, PlanFeature
from api.domain.entitlements import (
    GIVING,
    CustomerFacts,
    EntitledLimit,
    Entitlement,
    Entitlements,
    OverrideFacts,
    SubscriptionFacts,
    SubscriptionStatus,
    entitle,
    gives,
    last_instant,
)
from api.domain.windows import Window, window_at


@dataclass(frozen=True, slots=True)
class Holding:
    """One subscription, and whether it gives anything now; ``why`` is a sentence."""

    subscription: SubscriptionFacts
    gives: bool
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What one source says about the feature: ``plan``, ``add-on`` or ``override`` of that name."""

    source: str
    name: str
    quantity: int
    offer: PlanFeature


@dataclass(frozen=True, slots=True)
class PresentWindow:
    """The window of one limit in force, and the frame that lays its boundaries.

    A ``pinned`` one was carried over a change of zone, anchor or plan: it began earlier, or ends
    later, than the frame says.
    """

    limit: EntitledLimit
    window: Window
    pinned: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that ``entitle`` weighed for one feature, and what came of it.

    ``override`` may have ended; then it stands among no ``offers``.
    """

    entitlements: Entitlements
    entitlement: Entitlement
    holdings: tuple[Holding, ...]
    offers: tuple[Offer, ...]
    override: OverrideFacts | None
    windows: tuple[PresentWindow, ...]


def explain(catalog: Catalog, facts: CustomerFacts, feature: str, at: datetime) -> Explanation:
    """Explain what ``facts`` entitle to for one feature of ``catalog``.

    Cost: that of ``entitle``.
    """
    entitlements = entitle(catalog, facts, at)
    override = next((o for o in facts.overrides if o.feature == feature), None)
    offers = [
        Offer("plan", key, 1, catalog.plans[key].features[feature])
        for key in entitlements.plans
        if feature in catalog.plans[key].features
    ]
    offers += [
        Offer("add-on", key, quantity, catalog.add_ons[key].features[feature])
        for key, quantity in entitlements.add_ons
        if feature in catalog.add_ons[key].features
    ]
    if override is not None and (override.expires_at is None or at < override.expires_at):
        promised = PlanFeature(
            feature, override.enabled is not False, override.value, override.limits
        )
        offers.append(Offer("override", feature, 1, promised))
    return Explanation(
        entitlements=entitlements,
        entitlement=entitlements.features[feature],
        holdings=tuple(_holding(catalog, s, at) for s in facts.subscriptions),
        offers=tuple(offers),
        override=override,
        windows=tuple(
            _window(limit, (facts.pins or {}).get((feature, limit.window)), at)
            for limit in entitlements.features[feature].limits
        ),
    )


def _window(limit: EntitledLimit, pin: Window | None, at: datetime) -> PresentWindow:
    window = window_at(limit.frame, at, pin)
    return PresentWindow(limit, window, pinned=window == pin)


def _holding(catalog: Catalog, subscription: SubscriptionFacts, at: datetime) -> Holding:
    giving = gives(catalog, subscription, at)
    last = last_instant(subscription)
    if giving:
        why = "It gives its plan and add-ons."
    elif subscription.status not in GIVING:
        why = f"A subscription that is {subscription.status.value} gives nothing."
    elif last is not None and last <= at:
        why = f"It ended at {last.isoformat()}."
    elif subscription.plan is not None and subscription.plan not in catalog.plans:
        why = f"The catalog has no plan {subscription.plan!r}."
    elif (
        subscription.status is SubscriptionStatus.PAST_DUE
        and catalog.past_due is PastDuePolicy.WITHDRAW
    ):
        why = "It is past due, and the catalog withdraws what is not paid."
    else:
        why = "It gives nothing now."
    return Holding(subscription, giving, why)
