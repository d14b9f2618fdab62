"""Valid values with one fact changed: catalogs, customers, and what the record says of them.

``catalog()`` sells what a test needs: plans ``free`` (rank 0), ``starter`` (1) and ``pro`` (2) to
customers of the types ``business`` and ``person``, with a feature of each kind. Everything can be
replaced by name, and a plan's features are made by ``daily(50)``, ``monthly(300)``, ``seats(3)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.domain.catalog import (
    AddOn,
    Anchor,
    Catalog,
    CustomerType,
    Durability,
    Feature,
    FeatureKind,
    Limit,
    Plan,
    PlanFeature,
    Price,
    Scalar,
    WindowKind,
)
from api.domain.entitlements import (
    CustomerFacts,
    OverrideFacts,
    SubscriptionFacts,
    SubscriptionStatus,
)

CREATED = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
"""When the customers here were created, unless a test says otherwise."""

ANALYSES = "analyses"
POSTS = "posts"
SEATS = "seats"
EXPORT = "export"
COMPANIES = "companies"


def instant(text: str) -> datetime:
    """Read ``2026-03-10``, ``2026-03-10 10:00`` or a full ISO instant; UTC unless it says so."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def feature(key: str, kind: FeatureKind = FeatureKind.METERED, **changed: Any) -> Feature:
    journaled = kind is FeatureKind.ALLOCATION
    base = Feature(
        key=key,
        name=key.replace("_", " ").capitalize(),
        kind=kind,
        durability=Durability.JOURNALED if journaled else Durability.FAST,
    )
    return replace(base, **changed)


def limit(window: WindowKind, units: int | None, **changed: Any) -> Limit:
    return replace(Limit(window, units), **changed)


def daily(units: int | None, **changed: Any) -> tuple[Limit, ...]:
    return (limit(WindowKind.DAY, units, **changed),)


def monthly(units: int | None, **changed: Any) -> tuple[Limit, ...]:
    return (limit(WindowKind.MONTH, units, **changed),)


def seats(units: int | None) -> tuple[Limit, ...]:
    return (limit(WindowKind.LIFETIME, units),)


def offers(**given: tuple[Limit, ...] | Scalar) -> dict[str, PlanFeature]:
    """Return what a plan says: limits of a counted feature, True or False, or a value.

    ``offers(analyses=daily(50), export=True, companies=3)``
    """
    return {key: offer(key, said) for key, said in given.items()}


def offer(key: str, said: tuple[Limit, ...] | Scalar) -> PlanFeature:
    if isinstance(said, tuple):
        return PlanFeature(key, limits=said)
    if isinstance(said, bool):
        return PlanFeature(key, enabled=said)
    return PlanFeature(key, value=said)


def plan(key: str, *, rank: int = 0, **given: tuple[Limit, ...] | Scalar) -> Plan:
    """Return a public plan with one monthly price of the key ``<plan>_monthly``."""
    price = Price(f"{key}_monthly", 4900 * rank, "usd", "month")
    yearly = Price(f"{key}_yearly", 49000 * rank, "usd", "year")
    return Plan(
        key=key,
        name=key.capitalize(),
        rank=rank,
        prices=(price, yearly) if rank else (),
        features=offers(**given),
    )


def add_on(key: str, **given: tuple[Limit, ...] | Scalar) -> AddOn:
    price = Price(f"{key}_monthly", 900, "usd", "month")
    return AddOn(key, key.capitalize(), prices=(price,), features=offers(**given))


FEATURES = (
    feature(ANALYSES, name="Analyses", unit="analyses"),
    feature(POSTS, name="Posts", unit="posts"),
    feature(SEATS, FeatureKind.ALLOCATION, name="Seats", unit="seats"),
    feature(EXPORT, FeatureKind.BOOLEAN, name="Export"),
    feature(COMPANIES, FeatureKind.VALUE, name="Companies"),
)

PLANS = (
    plan("free", analyses=daily(50), posts=monthly(10), seats=seats(1), companies=1),
    plan(
        "starter",
        rank=1,
        analyses=daily(500),
        posts=monthly(300),
        seats=seats(3),
        export=False,
        companies=1,
    ),
    plan(
        "pro",
        rank=2,
        analyses=daily(None),
        posts=monthly(3000),
        seats=seats(10),
        export=True,
        companies=5,
    ),
)

ADD_ONS = (add_on("more_seats", seats=seats(1)), add_on("more_posts", posts=monthly(100)))


def catalog(
    *,
    plans: Iterable[Plan] = PLANS,
    features: Iterable[Feature] = FEATURES,
    add_ons: Iterable[AddOn] = ADD_ONS,
    **changed: Any,
) -> Catalog:
    """Return a catalog; plans given here replace those of the same key, and add to them."""
    merged = {p.key: p for p in PLANS} | {p.key: p for p in plans}
    base = Catalog(
        product="example",
        features={f.key: f for f in features},
        plans=merged,
        add_ons={a.key: a for a in add_ons},
        customer_types={
            "business": CustomerType("business", "Business", "free"),
            "person": CustomerType("person", "Person", "free"),
        },
        default_customer_type="business",
    )
    return replace(base, **changed)


def subscription(plan_key: str | None = "starter", **changed: Any) -> SubscriptionFacts:
    """Return an active monthly subscription, anchored when it began: 2026-03-01 00:00 UTC."""
    base = SubscriptionFacts(
        id=1,
        status=SubscriptionStatus.ACTIVE,
        plan=plan_key,
        price=None if plan_key is None else f"{plan_key}_monthly",
        current_period_start=instant("2026-03-01"),
        current_period_end=instant("2026-04-01"),
        billing_anchor=instant("2026-03-01"),
    )
    return replace(base, **changed)


def override(key: str = ANALYSES, **changed: Any) -> OverrideFacts:
    """Return a promise of 1,000 a day of ``key``, for ever."""
    base = OverrideFacts(key, limits=daily(1000))
    return replace(base, **changed)


def facts(**changed: Any) -> CustomerFacts:
    """Return a business in UTC that holds nothing: it has the plan ``free``."""
    base = CustomerFacts(id=1, key="acme", type="business", created_at=CREATED, version=1)
    return replace(base, **changed)


BILLING = Anchor.BILLING
"""``daily(50, anchor=BILLING)`` lies with the customer's billing period."""
