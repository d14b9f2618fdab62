"""What operators ask and do about credits: give, correct, take back, refund, check, report."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from api.domain.credits import Burned
from api.gates.booked import USUAL_PRIORITY, Because, Booked, Gift
from api.gates.refunding import CUSTOMERS_TOGETHER, Refund, RightCost
from api.ledger import heavy_users as report
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.credits import CreditFeatureLine
from api.schema.customers import Customer, customer_of
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import expect_first
from api.schema.scalars import SignedUnits, Units
from api.schema.words import CreditBucket, CreditRounding


@strawberry.type(description="What one grant gained, or below zero lost.")
class CreditMovement:
    """One grant's part of an act."""

    grant: Units
    credits: SignedUnits


@strawberry.type(description="What an operator's act moved.")
class CreditChange:
    """One act."""

    customer: str
    operation_id: str = strawberry.field(description="Under which its entries are found.")
    credits: SignedUnits
    grants: list[CreditMovement]
    available: Units = strawberry.field(description="What the customer has now.")
    replayed: bool = strawberry.field(description="It had been done before, and was not again.")


@strawberry.type(description="What was taken back of a grant, and what was not.")
class CreditVoid:
    """A grant that was voided."""

    change: CreditChange
    grant: Units
    spent: Units = strawberry.field(description="Spent, and stays so.")
    held: Units = strawberry.field(description="Held; void it again once its hold is resolved.")
    expired: Units


@strawberry.type(description="What one customer was charged too much.")
class CreditDifference:
    """One customer of a refund."""

    customer: str
    operations: int
    charged: Units
    right: Units
    returned_before: Units
    credits: Units


@strawberry.type(description="What some customers are owed, or got back; call again with after.")
class CreditRefund:
    """One page of a refund."""

    dry_run: bool
    customers: list[CreditDifference]
    credits: Units = strawberry.field(description="Of this page.")
    after: str | None = strawberry.field(description="Where to go on; null: all were judged.")


@strawberry.input(description="What a feature should have cost: units x credits / per, rounded.")
class RightCostInput:
    """A right cost."""

    credits: Units
    per: Units = Units(1)
    rounding: CreditRounding = CreditRounding.UP
    minimum: Units = Units(0)


@strawberry.type(description="Who spends most.")
class HeavyUser:
    """One customer of the report."""

    number: strawberry.Private[int]
    credits: Units
    share: float = strawberry.field(description="Of what all customers spent; 0 to 1.")
    features: list[CreditFeatureLine]

    @strawberry.field
    async def customer(self, info: Info) -> Customer | None:
        """Show who it is."""
        row = await info.context.loaders.customers.load(self.number)
        return None if row is None else customer_of(row)


@strawberry.type(description="Where balance and ledger disagree, or the ledger with itself.")
class CreditFinding:
    """One finding of a check."""

    kind: str
    severity: str
    customer_id: Units
    grant: Units | None
    operation_id: str | None
    observed: str
    expected: str


@strawberry.type
class CreditQuestions:
    """Reports and checks."""

    @described("Where balances and ledger disagree, of one customer or of all; empty: nowhere.")
    async def credit_findings(
        self, info: Info, customer: str | None = strawberry.UNSET
    ) -> list[CreditFinding]:
        """Check. Raises: UnknownCustomer."""
        context = info.context
        found = await context.services.bookkeeping.check(given(customer), context.at)
        return [
            CreditFinding(
                kind=one.kind,
                severity=one.severity.value,
                customer_id=Units(one.customer_id),
                grant=None if one.grant_id is None else Units(one.grant_id),
                operation_id=one.operation_id,
                observed=one.observed,
                expected=one.expected,
            )
            for one in found
        ]

    @described("The customers who spent most credits in an interval, less what was returned.")
    async def heavy_users(
        self,
        info: Info,
        from_: Annotated[datetime, strawberry.argument(name="from")],
        to: datetime | None = strawberry.UNSET,
        first: int = 20,
    ) -> list[HeavyUser]:
        """Report. Raises: InvalidInput."""
        context = info.context
        expect_first(first, context.services.max_page_size)
        found = await report.heavy_users(
            context.services.database, from_, given(to) or context.at, first
        )
        return [
            HeavyUser(
                number=one.customer_id,
                credits=Units(one.credits),
                share=one.share,
                features=[
                    CreditFeatureLine(
                        feature=line.feature,
                        units=Units(line.units),
                        credits=SignedUnits(line.credits),
                    )
                    for line in one.features
                ],
            )
            for one in found
        ]


@strawberry.type
class CreditActions:
    """Corrections, each by new entries."""

    @described("Give credits. With an idempotencyKey, once.")
    async def grant_credits(  # noqa: PLR0913 - one for each fact of a grant
        self,
        info: Info,
        *,
        customer: str,
        credits: Units,  # noqa: A002 - the field's own word
        reason: str,
        bucket: CreditBucket = CreditBucket.PERMANENT,
        priority: int = USUAL_PRIORITY,
        effective_at: datetime | None = strawberry.UNSET,
        expires_at: datetime | None = strawberry.UNSET,
        features: list[str] | None = strawberry.UNSET,
        reference: str | None = strawberry.UNSET,
        idempotency_key: str | None = strawberry.UNSET,
    ) -> CreditChange | None:
        """Give."""
        named = given(features)
        gift = Gift(
            credits=credits,
            bucket=bucket,
            priority=priority,
            effective_at=given(effective_at),
            expires_at=given(expires_at),
            features=None if named is None else frozenset(named),
        )
        because = _because(info.context, reason, given(reference), given(idempotency_key))
        return _change(await info.context.services.bookkeeping.grant(customer, gift, because))

    @described(
        "Correct a balance: up by a permanent grant, below zero by taking back in burn order. More "
        "than is available is refused, and nothing is changed."
    )
    async def adjust_credits(
        self,
        info: Info,
        customer: str,
        credits: SignedUnits,  # noqa: A002 - likewise
        reason: str,
        reference: str | None = strawberry.UNSET,
        idempotency_key: str | None = strawberry.UNSET,
    ) -> CreditChange | None:
        """Adjust."""
        because = _because(info.context, reason, given(reference), given(idempotency_key))
        return _change(await info.context.services.bookkeeping.adjust(customer, credits, because))

    @described("Take back what is left of a grant; what is spent or held stays so.")
    async def void_grant(
        self,
        info: Info,
        customer: str,
        grant: Units,
        reason: str,
        reference: str | None = strawberry.UNSET,
        idempotency_key: str | None = strawberry.UNSET,
    ) -> CreditVoid | None:
        """Void."""
        because = _because(info.context, reason, given(reference), given(idempotency_key))
        done = await info.context.services.bookkeeping.void_grant(customer, grant, because)
        return CreditVoid(
            change=_change(done.booked),
            grant=Units(done.grant_id),
            spent=Units(done.spent),
            held=Units(done.held),
            expired=Units(done.expired),
        )

    @described(
        "Make kept balances what their entries sum to, of one customer or of all; answers with how "
        "many grants were wrong. A fault of the ledger itself is mended by a new entry only."
    )
    async def rebuild_credit_balances(
        self, info: Info, reason: str, customer: str | None = strawberry.UNSET
    ) -> int | None:
        """Rebuild. Raises: UnknownCustomer."""
        context = info.context
        bookkeeping = context.services.bookkeeping
        found = await bookkeeping.check(given(customer), context.at)
        rebuilt = await bookkeeping.rebuild(found, _because(context, reason, None, None))
        return sum(len(one.grants) for one in rebuilt)

    @described(
        "Return what operations on a feature in [from, to) were charged above the right cost (left "
        "out: what the newest catalog says), some customers a call. What was returned is not "
        "returned again. A dry run, which is usual, only says what would be."
    )
    async def refund_overcharged(  # noqa: PLR0913 - one for each fact of a refund
        self,
        info: Info,
        *,
        feature: str,
        from_: Annotated[datetime, strawberry.argument(name="from")],
        to: datetime,
        reason: str,
        cost: RightCostInput | None = strawberry.UNSET,
        dry_run: bool = True,
        first: int = CUSTOMERS_TOGETHER,
        after: str | None = strawberry.UNSET,
        reference: str | None = strawberry.UNSET,
    ) -> CreditRefund | None:
        """Refund a page of customers."""
        context = info.context
        expect_first(first, CUSTOMERS_TOGETHER)
        right = given(cost)
        refund = Refund(
            feature=feature,
            since=from_,
            until=to,
            cost=RightCost()
            if right is None
            else RightCost(
                credits=right.credits,
                per=right.per,
                rounding=right.rounding,
                minimum=right.minimum,
            ),
        )
        done = await context.services.refunding.page(
            refund,
            _because(context, reason, given(reference), None),
            dry_run=dry_run,
            after=ids.place_number("CreditRefund", given(after)) or 0,
            limit=first,
        )
        return CreditRefund(
            dry_run=dry_run,
            customers=[
                CreditDifference(
                    customer=one.customer,
                    operations=one.operations,
                    charged=Units(one.charged),
                    right=Units(one.right),
                    returned_before=Units(one.returned),
                    credits=Units(one.credits),
                )
                for one in done.customers
            ],
            credits=Units(done.credits),
            after=None if done.after is None else ids.cursor("CreditRefund", done.after),
        )


def _because(context: Context, reason: str, reference: str | None, key: str | None) -> Because:
    return Because(
        actor=context.caller.actor, reason=reason, at=context.at, reference=reference, key=key
    )


def _change(booked: Booked) -> CreditChange:
    return CreditChange(
        customer=booked.customer,
        operation_id=booked.operation_id,
        credits=SignedUnits(booked.credits),
        grants=[_movement(one) for one in booked.grants],
        available=Units(booked.available),
        replayed=booked.replayed,
    )


def _movement(one: Burned) -> CreditMovement:
    return CreditMovement(grant=Units(one.grant), credits=SignedUnits(one.credits))
