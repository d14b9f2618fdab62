"""A customer's credits: what it has, where they come from, and every entry of its ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.catalog.customers import Customer as CustomerRow
from api.gates.outcome import ConsumptionId
from api.gates.principal import Scope
from api.ledger import history, standing
from api.ledger import statement as monthly
from api.ledger.entries import Kind
from api.ledger.history import Entry, Filter
from api.ledger.standing import Balance, BucketBalance, GrantStanding
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import SignedUnits, Units
from api.schema.words import CreditBucket, CreditEntryKind

_KINDS = {kind.word: kind for kind in Kind}


@strawberry.type(description="What is in one bucket; what is held is not available.")
class CreditBucketBalance:
    """One bucket."""

    bucket: CreditBucket
    available: Units
    held: Units


@strawberry.type(description="Credits that were given, and what is left of them.")
class CreditGrant:
    """One grant."""

    number: Units
    bucket: CreditBucket
    priority: int = strawberry.field(description="A lower one burns first.")
    units: Units = strawberry.field(description="As given.")
    available: Units = strawberry.field(
        description="What may be spent now; nothing before effectiveAt and from expiresAt on."
    )
    held: Units
    effective_at: datetime
    expires_at: datetime | None
    features: list[str] | None = strawberry.field(description="What it pays for; null: all.")
    created_at: datetime
    reason: str | None = strawberry.field(description="For the scope SUPPORT; else null.")
    actor: str | None = strawberry.field(description="For the scope SUPPORT; else null.")
    reference: str | None
    correlation_id: str | None


@strawberry.type(
    description="One entry: an amount that left account debit for account credit. It never changes."
)
class CreditEntry:
    """One row of the ledger."""

    id: strawberry.ID
    at: datetime
    kind: CreditEntryKind
    debit: str
    credit: str
    amount: Units
    bucket: CreditBucket
    grant: Units
    feature: str | None
    units: Units | None = strawberry.field(description="Of the operation, that credits paid for.")
    operation_id: str
    reference: str | None = strawberry.field(
        description="The caller's own name for the operation, or that of an outside fact."
    )
    correlation_id: str | None
    reason: str | None = strawberry.field(description="For the scope SUPPORT; else null.")
    actor: str | None = strawberry.field(description="For the scope SUPPORT; else null.")


@strawberry.type(
    description="Figures of a month: closing = opening + granted - spent + returned - heldNet - "
    "expired - revoked + restored."
)
class CreditFigures:
    """What stood, what moved, what stands."""

    bucket: CreditBucket | None = strawberry.field(description="Null: all together.")
    opening: SignedUnits
    granted: Units
    spent: Units
    returned: Units
    held_net: SignedUnits = strawberry.field(
        description="Set aside, less what holds gave back or spent."
    )
    expired: Units
    revoked: Units
    restored: Units
    closing: SignedUnits
    opening_held: SignedUnits
    closing_held: SignedUnits


@strawberry.type(description="What one feature cost in a month.")
class CreditFeatureLine:
    """One feature of a statement, or of a report."""

    feature: str | None
    units: Units
    credits: SignedUnits = strawberry.field(description="Spent, less what was returned.")


@strawberry.type(description="A month of the customer's own calendar.")
class CreditStatement:
    """One month."""

    month: str
    timezone: str
    starts_at: datetime
    ends_at: datetime
    total: CreditFigures
    buckets: list[CreditFigures]
    features: list[CreditFeatureLine]
    csv: str = strawberry.field(description="The same, in stable columns.")


@strawberry.type(description="What a customer has of credits. What has expired counts zero.")
class Credits:
    """One customer's credits, now or at an instant."""

    customer: strawberry.Private[CustomerRow]
    at: strawberry.Private[datetime | None]

    @strawberry.field
    async def available(self, info: Info) -> Units:
        """Say what may be spent."""
        return Units((await self._balance(info.context)).available)

    @strawberry.field
    async def held(self, info: Info) -> Units:
        """Say what holds set aside."""
        return Units((await self._balance(info.context)).held)

    @strawberry.field
    async def buckets(self, info: Info) -> list[CreditBucketBalance]:
        """Show every bucket."""
        return [_bucket_of(one) for one in (await self._balance(info.context)).buckets]

    @described("Grants as they stand now, newest first.")
    async def grants(
        self, info: Info, first: int = 50, after: str | None = strawberry.UNSET
    ) -> Connection[CreditGrant]:
        """List grants."""
        context = info.context
        expect_first(first, min(context.services.max_page_size, standing.MOST_IN_A_PAGE - 1))
        rows = await standing.grants(
            context.services.database,
            self.customer.id,
            first + 1,
            ids.place_number("CreditGrant", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda grant: ids.cursor("CreditGrant", grant.id),
            node=lambda grant: _grant_of(grant, context),
        )

    @described(
        "Entries, newest first; operation finds a whole one, by the id that was answered, our "
        "name for it or its caller's."
    )
    async def ledger(  # noqa: PLR0913 - one for each filter
        self,
        info: Info,
        *,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        kinds: list[CreditEntryKind] | None = strawberry.UNSET,
        bucket: CreditBucket | None = strawberry.UNSET,
        feature: str | None = strawberry.UNSET,
        grant: Units | None = strawberry.UNSET,
        operation: str | None = strawberry.UNSET,
        reference: str | None = strawberry.UNSET,
        correlation_id: str | None = strawberry.UNSET,
        from_: Annotated[datetime | None, strawberry.argument(name="from")] = strawberry.UNSET,
        to: datetime | None = strawberry.UNSET,
    ) -> Connection[CreditEntry]:
        """Read the ledger."""
        context = info.context
        expect_first(first, min(context.services.max_page_size, history.MOST_IN_A_PAGE - 1))
        wanted = Filter(
            kinds=given(kinds),
            bucket=given(bucket),
            feature=given(feature),
            grant_id=given(grant),
            operations=None if not operation else ConsumptionId.names_of(operation),
            reference=given(reference),
            correlation_id=given(correlation_id),
            since=given(from_),
            until=given(to),
        )
        rows = await history.entries(
            context.services.database,
            self.customer.id,
            wanted,
            first + 1,
            ids.place_number("CreditEntry", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda entry: ids.cursor("CreditEntry", entry.id),
            node=lambda entry: _entry_of(entry, context),
        )

    @described("The statement of a month, given as 2026-03, in the customer's time zone.")
    async def statement(self, info: Info, month: str) -> CreditStatement:
        """Sum up a month. Raises: InvalidInput."""
        customer = self.customer
        found = await monthly.statement(
            info.context.services.database, customer.id, customer.timezone, month
        )
        return CreditStatement(
            month=found.month,
            timezone=found.zone,
            starts_at=found.starts_at,
            ends_at=found.ends_at,
            total=_figures_of(None, found.total),
            buckets=[_figures_of(line.bucket, line.figures) for line in found.buckets],
            features=[
                CreditFeatureLine(
                    feature=line.feature,
                    units=Units(line.units),
                    credits=SignedUnits(line.credits),
                )
                for line in found.features
            ],
            csv=monthly.to_csv(customer.key, found),
        )

    async def _balance(self, context: Context) -> Balance:
        return await context.loaders.credits.load((self.customer.id, self.at))


def _bucket_of(one: BucketBalance) -> CreditBucketBalance:
    return CreditBucketBalance(
        bucket=one.bucket, available=Units(one.available), held=Units(one.held)
    )


def _grant_of(grant: GrantStanding, context: Context) -> CreditGrant:
    told = context.caller.may(Scope.SUPPORT)
    return CreditGrant(
        number=Units(grant.id),
        bucket=grant.bucket,
        priority=grant.priority,
        units=Units(grant.units),
        available=Units(grant.usable(context.at)),
        held=Units(grant.held),
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        features=None if grant.features is None else list(grant.features),
        created_at=grant.created_at,
        reason=grant.reason if told else None,
        actor=grant.actor if told else None,
        reference=grant.reference,
        correlation_id=grant.correlation_id,
    )


def _entry_of(entry: Entry, context: Context) -> CreditEntry:
    told = context.caller.may(Scope.SUPPORT)
    return CreditEntry(
        id=strawberry.ID(ids.encode("CreditEntry", entry.id)),
        at=entry.at,
        kind=_KINDS[entry.kind],
        debit=entry.debit,
        credit=entry.credit,
        amount=Units(entry.amount),
        bucket=entry.bucket,
        grant=Units(entry.grant_id),
        feature=entry.feature,
        units=None if entry.units is None else Units(entry.units),
        operation_id=entry.operation_id,
        reference=entry.reference,
        correlation_id=entry.correlation_id,
        reason=entry.reason if told else None,
        actor=entry.actor if told else None,
    )


def _figures_of(bucket: CreditBucket | None, figures: dict[str, int]) -> CreditFigures:
    return CreditFigures(
        bucket=bucket,
        opening=SignedUnits(figures["opening"]),
        granted=Units(figures["granted"]),
        spent=Units(figures["spent"]),
        returned=Units(figures["returned"]),
        held_net=SignedUnits(figures["held_net"]),
        expired=Units(figures["expired"]),
        revoked=Units(figures["revoked"]),
        restored=Units(figures["restored"]),
        closing=SignedUnits(figures["closing"]),
        opening_held=SignedUnits(figures["opening_held"]),
        closing_held=SignedUnits(figures["closing_held"]),
    )
