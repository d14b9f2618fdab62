"""Customers, and what the schema shows of their rights and usage."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.catalog import customers as catalog
from api.catalog.subscriptions import SubscriptionRecord
from api.domain import entitlements as domain
from api.domain.errors import InvalidInput, UnknownFeature
from api.schema import ids
from api.schema.billing_operations import BillingOperation, operation_of
from api.schema.context import Info
from api.schema.credits import Credits
from api.schema.decisions import WindowUsage, windows_of
from api.schema.described import described
from api.schema.given import given
from api.schema.history import cut, frame_of
from api.schema.holds import Hold, holds_of
from api.schema.invoices import Invoice, invoices_of
from api.schema.loaders import UsageAsked
from api.schema.overrides import Override, override_of
from api.schema.pages import Connection, Node
from api.schema.plans import Feature, Plan, feature_of, plan_of
from api.schema.scalars import Json, Units
from api.schema.scopes import guarded
from api.schema.subscription_changes import SubscriptionChange, changes_of
from api.schema.words import FeatureKind, HoldState, SubscriptionStatus, WindowKind

_COUNTED = frozenset({FeatureKind.METERED, FeatureKind.ALLOCATION})


@strawberry.type
class Subscription(Node):
    """One subscription, in words that any provider would understand."""

    record: strawberry.Private[SubscriptionRecord]
    id: strawberry.ID
    status: SubscriptionStatus
    current_period_start: datetime | None
    current_period_end: datetime | None
    cancel_at_period_end: bool
    trial_ends_at: datetime | None
    provider_id: str | None

    @strawberry.field
    async def plan(self, info: Info) -> Plan:
        """Show what it is a subscription to."""
        rights = await info.context.loaders.rights.load(self.record.customer_id)
        found = plan_of(_expect(rights).revision.catalog, self.record.plan or "")
        return found or _default_plan(_expect(rights))

    @described("The plan it moves to: when its payment succeeds, or at pendingPlanAt.")
    async def pending_plan(self, info: Info) -> Plan | None:
        """Show the plan that waits for its payment, else the one that comes by itself."""
        coming = self.record.pending_plan or self.record.scheduled_plan
        if coming is None:
            return None
        rights = await info.context.loaders.rights.load(self.record.customer_id)
        return plan_of(_expect(rights).revision.catalog, coming)

    @described("When pendingPlan takes effect by itself; null where it waits for its payment.")
    async def pending_plan_at(self) -> datetime | None:
        """Show the instant of a scheduled change."""
        return None if self.record.pending_plan is not None else self.record.scheduled_at

    @described("What each of its changes came to, newest first.")
    async def changes(
        self, info: Info, first: int = 50, after: str | None = strawberry.UNSET
    ) -> Connection[SubscriptionChange]:
        """Read its history."""
        return await changes_of(info.context, self.record, first, given(after))


@strawberry.type
class Entitlement:
    """What a customer may do with one feature, now."""

    customer: strawberry.Private[str]
    counted: strawberry.Private[bool]
    feature: Feature
    granted: bool
    value: Json | None

    @strawberry.field
    async def windows(self, info: Info) -> list[WindowUsage]:
        """List the windows of its limits, as they stand."""
        if not self.counted:
            return []
        asked = (self.customer, self.feature.key)
        figures = await info.context.loaders.figures.load(asked)
        return windows_of(figures or ())


@strawberry.type
class UsagePoint:
    """Units used in one interval."""

    starts_at: datetime
    ends_at: datetime
    units: Units


@guarded
@strawberry.type
class Customer(Node):
    """Whoever holds a subscription."""

    customer: strawberry.Private[catalog.Customer]
    id: strawberry.ID
    key: str = strawberry.field(description="The product's own name for this customer.")
    type: str
    name: str | None
    email: str | None
    timezone: str = strawberry.field(description="Where its days and months begin.")
    created_at: datetime

    @strawberry.field
    async def plan(self, info: Info) -> Plan:
        """Show the highest of its plans."""
        rights = _expect(await info.context.loaders.rights.load(self.customer.id))
        found = plan_of(rights.revision.catalog, rights.entitlements.plan)
        return found or _default_plan(rights)

    @strawberry.field
    async def subscriptions(self, info: Info) -> list[Subscription]:
        """List every subscription it ever had, oldest first."""
        records = await info.context.loaders.subscriptions.load(self.customer.id)
        return [subscription_of(record) for record in records]

    @strawberry.field
    async def entitlements(self, info: Info) -> list[Entitlement]:
        """List what it may do, with every feature of its catalog."""
        rights = _expect(await info.context.loaders.rights.load(self.customer.id))
        known = info.context.services.revisions.newest.catalog.features
        return [
            _entitlement_of(self.key, entitlement)
            for key, entitlement in rights.entitlements.features.items()
            if key in known
        ]

    @strawberry.field
    async def entitlement(self, info: Info, feature: str) -> Entitlement | None:
        """Show what it may do with one feature; null where there is none of this key."""
        rights = _expect(await info.context.loaders.rights.load(self.customer.id))
        known = info.context.services.revisions.newest.catalog.features
        found = rights.entitlements.features.get(feature)
        return None if found is None or feature not in known else _entitlement_of(self.key, found)

    @described("Its credits, now or at an instant; at does not change grants, ledger, statement.")
    async def credits(self, at: datetime | None = strawberry.UNSET) -> Credits:
        """Show its credits."""
        return Credits(customer=self.customer, at=given(at))

    @described("Units and credits set aside, newest first; of one state, or all.")
    async def holds(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        state: HoldState | None = strawberry.UNSET,
    ) -> Connection[Hold]:
        """Read its holds."""
        return await holds_of(info.context, self.customer, first, given(after), given(state))

    @described("What the payment provider asked money for, newest first.")
    async def invoices(
        self, info: Info, first: int = 50, after: str | None = strawberry.UNSET
    ) -> Connection[Invoice]:
        """Read its invoices."""
        return await invoices_of(info.context, self.customer, first, given(after))

    @described("Actions at the payment provider that are not done, or not yet seen here.")
    async def pending_operations(self, info: Info) -> list[BillingOperation]:
        """List what it waits for."""
        found = await info.context.loaders.pending_operations.load(self.customer.id)
        return [operation_of(one) for one in found]

    @described("Promises that replace what its plans say; also those that have ended.")
    async def overrides(self, info: Info) -> list[Override]:
        """List its overrides."""
        records = await info.context.loaders.overrides.load(self.customer.id)
        return [override_of(record) for record in records]

    @described(
        "Units used in adjoining intervals, oldest first; they add up to the whole "
        "span. Without from: the last 30 intervals. At most 400 points."
    )
    async def usage(
        self,
        info: Info,
        feature: str,
        by: WindowKind = WindowKind.DAY,
        from_: Annotated[datetime | None, strawberry.argument(name="from")] = strawberry.UNSET,
        to: datetime | None = strawberry.UNSET,
    ) -> list[UsagePoint]:
        """Read its history from the record. Raises: UnknownFeature, InvalidInput."""
        rights = _expect(await info.context.loaders.rights.load(self.customer.id))
        entitlement = rights.entitlements.features.get(feature)
        if entitlement is None:
            raise UnknownFeature(f"the catalog has no feature {feature[:200]!r}")
        if entitlement.feature.kind not in _COUNTED:
            raise InvalidInput(f"{feature} is {entitlement.feature.kind}: nothing is used of it.")
        frame = frame_of(rights.entitlements, feature, by, self.customer.timezone)
        windows = cut(frame, given(from_), to or info.context.at, self.customer.created_at)
        asked = UsageAsked(self.customer.id, rights.revision.feature_ids[feature], windows)
        units = await info.context.loaders.usage.load(asked)
        return [
            UsagePoint(starts_at=w.starts_at, ends_at=w.ends_at or w.starts_at, units=Units(n))
            for w, n in zip(windows, units, strict=True)
        ]


def customer_of(customer: catalog.Customer) -> Customer:
    """Show one customer."""
    return Customer(
        customer=customer,
        id=strawberry.ID(ids.encode("Customer", customer.id)),
        key=customer.key,
        type=customer.type,
        name=customer.name,
        email=customer.email,
        timezone=customer.timezone,
        created_at=customer.created_at,
    )


def subscription_of(record: SubscriptionRecord) -> Subscription:
    """Show one subscription."""
    return Subscription(
        record=record,
        id=strawberry.ID(ids.encode("Subscription", record.id or 0)),
        status=record.status,
        current_period_start=record.current_period_start,
        current_period_end=record.current_period_end,
        cancel_at_period_end=record.cancel_at_period_end,
        trial_ends_at=record.trial_ends_at,
        provider_id=record.provider_id,
    )


def _entitlement_of(customer: str, entitlement: domain.Entitlement) -> Entitlement:
    return Entitlement(
        customer=customer,
        counted=entitlement.feature.kind in _COUNTED,
        feature=feature_of(entitlement.feature),
        granted=entitlement.granted,
        value=None if entitlement.value is None else Json(entitlement.value),
    )


def _expect(rights: catalog.Entitled | None) -> catalog.Entitled:
    """Return ``rights``: customers are never deleted, so whoever was found has them."""
    if rights is None:
        raise LookupError("a customer that was found has no row")
    return rights


def _default_plan(rights: catalog.Entitled) -> Plan:
    """Show what the customer has without this subscription, whose plan is no longer sold."""
    catalog = rights.revision.catalog
    found = plan_of(catalog, catalog.default_plan(rights.held.customer.type).key)
    if found is None:
        raise LookupError("a catalog has the default plan of each of its customer types")
    return found
