"""What is sold, as the schema shows it: features, plans, their limits and prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import strawberry

from api.domain import catalog as domain
from api.domain import codes
from api.domain.errors import InvalidInput
from api.domain.unlocking import Asked, Holding, Known, plans_that_allow
from api.gates.principal import Principal
from api.schema import ids
from api.schema.context import Context
from api.schema.described import described
from api.schema.pages import Connection, Node, expect_first, page
from api.schema.scalars import Json, Units
from api.schema.words import FeatureKind, WindowKind


@strawberry.type
class Feature:
    """Something that a plan can give."""

    key: str
    name: str
    kind: FeatureKind
    unit: str | None


@strawberry.type
class Limit:
    """Units that may be used per window."""

    window: WindowKind
    units: Units | None = strawberry.field(description="Null: unlimited.")
    code: str
    status: int
    overage: bool = strawberry.field(
        description="True: the plan includes so many, and units past them are paid with credits."
    )


@strawberry.type
class PlanFeature:
    """What one plan says about one feature."""

    feature: Feature
    enabled: bool
    value: Json | None
    limits: list[Limit]


@strawberry.type
class Price:
    """One price; its key is its lookup key at the payment provider."""

    key: str
    amount_minor: Units
    currency: str
    interval: str | None
    trial_days: int | None


@strawberry.type(description="Credits that arrive with each month of a paid period.")
class PlanCredits:
    """Credits of a plan."""

    units: Units
    trial_units: Units = strawberry.field(description="Instead, while on trial.")
    rollover: Units = strawberry.field(
        description="The most that lives on for another month of what is left at a month's end."
    )


@strawberry.type
class Plan(Node):
    """A named set of features with the prices that buy it."""

    plan: strawberry.Private[domain.Plan]
    catalog: strawberry.Private[domain.Catalog]
    id: strawberry.ID
    key: str
    name: str
    public: bool

    @strawberry.field
    def prices(self) -> list[Price]:
        """List what it costs."""
        return [price_of(price) for price in self.plan.prices]

    @described("Credits that it brings; null: none.")
    def credits(self) -> PlanCredits | None:
        """Show what arrives each month."""
        brought = self.plan.credits
        return (
            None
            if brought is None
            else PlanCredits(
                units=Units(brought.units),
                trial_units=Units(brought.trial_units),
                rollover=Units(brought.rollover),
            )
        )

    @strawberry.field
    def features(self) -> list[PlanFeature]:
        """List what it says about features, in the catalog's order."""
        return [
            _plan_feature(self.catalog, self.plan, self.plan.features[key])
            for key in self.catalog.features
            if key in self.plan.features
        ]


def feature_of(feature: domain.Feature) -> Feature:
    """Show one feature."""
    return Feature(key=feature.key, name=feature.name, kind=feature.kind, unit=feature.unit)


def price_of(price: domain.Price) -> Price:
    """Show one price."""
    return Price(
        key=price.key,
        amount_minor=Units(price.amount_minor),
        currency=price.currency,
        interval=price.interval,
        trial_days=price.trial_days,
    )


def plan_of(catalog: domain.Catalog, key: str) -> Plan | None:
    """Show the plan of this key in this catalog, None where it has none."""
    plan = catalog.plans.get(key)
    return None if plan is None else _shown(catalog, plan)


def plans_of(catalog: domain.Catalog, keys: Iterable[str]) -> list[Plan]:
    """Show those of ``keys`` that this catalog still has."""
    return [plan for plan in (plan_of(catalog, key) for key in keys) if plan is not None]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The plans that one principal may see, from the least to the most.

    A service sees all. A customer sees the public ones, and those that it holds: what was agreed
    with somebody else is not its business.
    """

    catalog: domain.Catalog
    plans: tuple[domain.Plan, ...]

    def find(self, key: str) -> Plan | None:
        """Return the plan of this key if it may be seen."""
        return next((_shown(self.catalog, p) for p in self.plans if p.key == key), None)

    def page(self, first: int, after: str | None, most: int) -> Connection[Plan]:
        """Return one page of the plans. Raises: InvalidInput."""
        expect_first(first, most)
        plans = self.plans
        if after is not None:
            keys = [plan.key for plan in plans]
            place = ids.place("Plan", after)
            if place not in keys:
                raise InvalidInput("The plan at this cursor is gone; begin again without it.")
            plans = plans[keys.index(place) + 1 :]
        return page(
            plans,
            first,
            after=after,
            cursor=lambda plan: ids.cursor("Plan", plan.key),
            node=lambda plan: _shown(self.catalog, plan),
        )


async def shelf_for(context: Context) -> Shelf:
    """Return what the caller of this request may see of the newest catalog."""
    catalog = context.services.revisions.newest.catalog
    ranked = sorted(catalog.plans.values(), key=lambda plan: (plan.rank, plan.key))
    held = await _held_by(context, context.caller)
    seen = (plan for plan in ranked if held is None or plan.public or plan.key in held)
    return Shelf(catalog, tuple(seen))


async def _held_by(context: Context, principal: Principal) -> frozenset[str] | None:
    if principal.customer is None:
        return None
    customer = await context.loaders.customers_by_key.load(principal.customer)
    rights = None if customer is None else await context.loaders.rights.load(customer.id)
    return frozenset() if rights is None else frozenset(rights.entitlements.plans)


def _shown(catalog: domain.Catalog, plan: domain.Plan) -> Plan:
    return Plan(
        id=strawberry.ID(ids.encode("Plan", plan.key)),
        plan=plan,
        catalog=catalog,
        key=plan.key,
        name=plan.name,
        public=plan.public,
    )


def _plan_feature(
    catalog: domain.Catalog, plan: domain.Plan, offer: domain.PlanFeature
) -> PlanFeature:
    feature = catalog.features[offer.feature]
    return PlanFeature(
        feature=feature_of(feature),
        enabled=offer.enabled,
        value=None if offer.value is None else Json(offer.value),
        limits=[_limit(catalog, plan, feature, limit) for limit in offer.limits],
    )


def _limit(
    catalog: domain.Catalog, plan: domain.Plan, feature: domain.Feature, limit: domain.Limit
) -> Limit:
    """Show one limit with the code and status that its denial has."""
    if feature.kind is FeatureKind.ALLOCATION:
        code, status = codes.ALLOCATION_EXCEEDED, codes.PAYING_HELPS
    else:
        code = codes.CAP_CODES[limit.window]
        status = codes.default_status(limit.window, helped=_helped(catalog, plan, feature, limit))
    return Limit(
        window=limit.window,
        units=None if limit.units is None else Units(limit.units),
        code=limit.code or code,
        status=limit.status or status,
        overage=limit.overage,
    )


def _helped(
    catalog: domain.Catalog, plan: domain.Plan, feature: domain.Feature, limit: domain.Limit
) -> bool:
    """Tell whether another public plan would let one unit more pass."""
    if limit.units is None:
        return False
    holder = min(plan.customer_types, default=catalog.default_customer_type)
    holding = Holding(holder, plan.key, (plan.key,))
    asked = Asked(feature.key, 1, {limit.window: Known(limit.units, None)}, 0)
    return bool(plans_that_allow(catalog, holding, asked))
