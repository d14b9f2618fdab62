"""Finding customers, and answering why they may or may not."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog.customers import MOST_IN_A_PAGE
from api.catalog.customers import Customer as CustomerRow
from api.domain import explanation as domain
from api.domain.catalog import PlanFeature
from api.gates.explain import Explained
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.customers import Customer, customer_of
from api.schema.decisions import Decision, decision_of
from api.schema.described import described
from api.schema.given import given
from api.schema.overrides import Override, override_of
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json, Units
from api.schema.words import SubscriptionStatus, WindowKind


@strawberry.type(description="One subscription, and whether it gives anything now.")
class ExplainedSubscription:
    """What one subscription contributes."""

    number: int
    status: SubscriptionStatus
    plan: str | None
    gives: bool
    why: str


@strawberry.type(description="A limit as its source says it.")
class ExplainedLimit:
    """Units per window."""

    window: WindowKind
    units: Units | None = strawberry.field(description="Null: unlimited.")


@strawberry.type(description="What one source says about the feature.")
class ExplainedOffer:
    """What a plan, an add-on or an override says."""

    source: str = strawberry.field(description="plan, add-on or override.")
    name: str
    quantity: int
    enabled: bool
    value: Json | None
    limits: list[ExplainedLimit]


@strawberry.type(
    description="Everything that a customer's right to one feature rests on, from the record, and "
    "what the gate says of one unit now."
)
class EntitlementExplanation:
    """Why a customer may or may not."""

    customer: Customer
    feature: str
    catalog_revision: int = strawberry.field(description="The one the customer is judged by.")
    newest_catalog_revision: int
    plan: str
    plans: list[str]
    withheld: list[str] = strawberry.field(description="Plans that a payment would bring back.")
    subscriptions: list[ExplainedSubscription]
    offers: list[ExplainedOffer] = strawberry.field(description="What was weighed.")
    override: Override | None = strawberry.field(description="Also one that has ended.")
    granted: bool
    value: Json | None
    limits: list[ExplainedLimit] = strawberry.field(description="What came of it.")
    changes_at: datetime | None = strawberry.field(
        description="When it changes by itself next: a trial, an override, a subscription ends."
    )
    decision: Decision | None = strawberry.field(description="Null where the gate cannot say.")
    trouble: str | None = strawberry.field(description="Why the gate cannot say.")


@strawberry.type
class SupportQuestions:
    """Who holds what, and why."""

    @described("Customers in the order in which they came; with email, those of that address.")
    async def customers(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        email: str | None = strawberry.UNSET,
    ) -> Connection[Customer]:
        """List customers."""
        expect_first(first, min(info.context.services.max_page_size, MOST_IN_A_PAGE - 1))
        behind = ids.place_number("Customer", given(after)) or 0
        rows = await _rows(info.context, first + 1, behind, given(email))
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("Customer", row.id),
            node=customer_of,
        )

    @described("Why this customer may or may not use this feature.")
    async def explain_entitlement(
        self, info: Info, customer: str, feature: str
    ) -> EntitlementExplanation | None:
        """Explain. Raises: UnknownCustomer, UnknownFeature."""
        explain = info.context.services.explain
        return _explanation_of(await explain.entitlement(customer, feature, info.context.at))


async def _rows(context: Context, count: int, behind: int, email: str | None) -> list[CustomerRow]:
    customers = context.services.customers
    if email is None:
        return await customers.list_(count, behind)
    found = await customers.find_by_email(email)
    return [row for row in found if row.id > behind][:count]


def _explanation_of(explained: Explained) -> EntitlementExplanation:
    found = explained.explanation
    override = explained.override
    decision = explained.decision
    value = found.entitlement.value
    return EntitlementExplanation(
        customer=customer_of(explained.customer),
        feature=found.entitlement.feature.key,
        catalog_revision=explained.customer.catalog_revision,
        newest_catalog_revision=explained.newest_revision,
        plan=found.entitlements.plan,
        plans=list(found.entitlements.plans),
        withheld=list(found.entitlements.withheld),
        subscriptions=[_subscription_of(holding) for holding in found.holdings],
        offers=[_offer_of(offer) for offer in found.offers],
        override=None if override is None else override_of(override),
        granted=found.entitlement.granted,
        value=None if value is None else Json(value),
        limits=[_limit_of(limit.window, limit.units) for limit in found.entitlement.limits],
        changes_at=found.entitlements.valid_until,
        decision=None if decision is None else decision_of(decision),
        trouble=explained.trouble,
    )


def _subscription_of(holding: domain.Holding) -> ExplainedSubscription:
    return ExplainedSubscription(
        number=holding.subscription.id,
        status=holding.subscription.status,
        plan=holding.subscription.plan,
        gives=holding.gives,
        why=holding.why,
    )


def _offer_of(offer: domain.Offer) -> ExplainedOffer:
    said: PlanFeature = offer.offer
    return ExplainedOffer(
        source=offer.source,
        name=offer.name,
        quantity=offer.quantity,
        enabled=said.enabled,
        value=None if said.value is None else Json(said.value),
        limits=[_limit_of(limit.window, limit.units) for limit in said.limits],
    )


def _limit_of(window: WindowKind, units: int | None) -> ExplainedLimit:
    return ExplainedLimit(window=window, units=None if units is None else Units(units))
