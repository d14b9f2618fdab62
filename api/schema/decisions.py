"""Answers of the gate, as the schema shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, cast

import strawberry

from api.domain import decision as domain
from api.domain import funding as domain_funding
from api.domain.errors import HeadroomError
from api.gates import outcome
from api.schema.context import Info
from api.schema.plans import Plan, plans_of
from api.schema.scalars import Units
from api.schema.words import CreditBucket, WindowKind


@strawberry.type
class WindowUsage:
    """One window of one feature, as it stands."""

    window: WindowKind
    limit: Units | None
    used: Units
    held: Units = strawberry.field(
        description="Units promised to open holds; already counted against the limit."
    )
    remaining: Units | None
    starts_at: datetime | None
    resets_at: datetime | None
    shadow: bool = strawberry.field(
        description="True when this limit judges, counts and reports, but lets pass."
    )
    overage: bool = strawberry.field(
        description="True: the plan includes so many, and units past them are paid with credits."
    )


@strawberry.type(description="Credits that one bucket paid.")
class BucketFunding:
    """One bucket's share."""

    bucket: CreditBucket
    credits: Units


@strawberry.type(description="Who paid for the units of one call: the plan first, then credits.")
class Funding:
    """What each layer paid."""

    included: Units = strawberry.field(description="Units that the plan includes.")
    charged: Units = strawberry.field(description="Units that were paid with credits.")
    credits: Units = strawberry.field(description="The credits that these cost.")
    buckets: list[BucketFunding] = strawberry.field(
        description="Where they came from, in the order in which they burned."
    )


@strawberry.type(description="The same facts that a denied consume puts in its error's extensions.")
class Decision:
    """The answer to one question, with everything that a denial must say."""

    decision: strawberry.Private[domain.Decision]
    allowed: bool
    status: int = strawberry.field(description="200 when allowed; else the status its code has.")
    code: str | None
    message: str | None
    customer: str
    feature: str
    window: WindowKind | None = strawberry.field(
        description="The full window that resets last, when that is the reason."
    )
    docs: str | None
    units: Units
    windows: list[WindowUsage]
    retry_after_seconds: int | None
    max_units_now: Units | None = strawberry.field(
        description="The most that would be allowed now. Null: unlimited."
    )
    unlocked_by_packs: list[str] = strawberry.field(
        description="Keys of the packs that would allow it."
    )
    degraded: bool
    cost: Units | None = strawberry.field(
        description="Credits that the units would cost now. Null: the feature costs none."
    )
    balance: Units | None = strawberry.field(
        description="Credits that could pay for the feature. Null: it costs none."
    )

    @strawberry.field
    def unlocked_by(self, info: Info) -> list[Plan]:
        """List the plans in which it would pass."""
        catalog = info.context.services.revisions.newest.catalog
        return plans_of(catalog, self.decision.unlocked_by)


@strawberry.type
class Consumption:
    """Units that were counted, and the windows as they stood right after."""

    id: strawberry.ID
    customer: str
    feature: str
    units: Units
    windows: list[WindowUsage]
    replayed: bool = strawberry.field(
        description="True when the idempotency key had already been answered."
    )
    degraded: bool
    funding: Funding | None = strawberry.field(
        description="Who paid, where the feature costs credits; else null."
    )
    balance: Units | None = strawberry.field(
        description="Credits available to the customer right after; null: none were asked."
    )


@strawberry.type(
    description="Also for expected errors of one item (404, 409, 503): then without a decision."
)
class Denial:
    """Why one item was refused."""

    code: str
    status: int
    message: str
    decision: Decision | None = strawberry.field(
        description="The same facts as in an error's extensions."
    )


@strawberry.type(description="One item of a batch: exactly one of the two is set.")
class ConsumeOutcome:
    """What came of one item of a batch."""

    consumption: Consumption | None
    denial: Denial | None


def windows_of(figures: Sequence[domain.WindowFigure]) -> list[WindowUsage]:
    """Show windows: a figure has whatever a window of the schema shows, under the same names."""
    return cast("list[WindowUsage]", figures)


def funding_of(funding: domain_funding.Funding | None) -> Funding | None:
    """Show who paid."""
    return (
        None
        if funding is None
        else Funding(
            included=Units(funding.included),
            charged=Units(funding.charged),
            credits=Units(funding.credits),
            buckets=[
                BucketFunding(bucket=CreditBucket(bucket), credits=Units(paid))
                for bucket, paid in funding.buckets
            ],
        )
    )


def decision_of(decision: domain.Decision) -> Decision:
    """Show one decision."""
    return Decision(
        decision=decision,
        allowed=decision.allowed,
        status=decision.status,
        code=decision.code,
        message=decision.message,
        customer=decision.customer,
        feature=decision.feature,
        window=None if decision.window is None else decision.window.window,
        docs=decision.docs,
        units=Units(decision.units),
        windows=windows_of(decision.windows),
        retry_after_seconds=decision.retry_after_seconds,
        max_units_now=_units(decision.max_units_now),
        unlocked_by_packs=list(decision.unlocked_by_packs),
        degraded=decision.degraded,
        cost=_units(decision.cost),
        balance=_units(decision.balance),
    )


def consumption_of(consumption: outcome.Consumption) -> Consumption:
    """Show one consumption, which has whatever the schema shows, under the same names."""
    if consumption.funding is not None:
        shown = consumption._replace(funding=cast("Any", funding_of(consumption.funding)))
        return cast("Consumption", shown)
    return cast("Consumption", consumption)


class _Passed(NamedTuple):
    """A ``ConsumeOutcome`` to whoever reads it; of a batch most are such, and it costs less."""

    consumption: Consumption
    denial: None = None


_passed = partial(tuple.__new__, _Passed)


def outcome_of(result: outcome.Consumption | outcome.Denied | HeadroomError) -> ConsumeOutcome:
    """Show what came of one item of a batch."""
    if isinstance(result, outcome.Consumption):
        return cast("ConsumeOutcome", _passed((consumption_of(result), None)))
    if isinstance(result, HeadroomError):
        denial = Denial(
            code=result.code, status=result.status, message=result.message, decision=None
        )
        return ConsumeOutcome(consumption=None, denial=denial)
    decision = result.decisions[0]
    denial = Denial(
        code=decision.code or "",
        status=decision.status,
        message=decision.message or "",
        decision=decision_of(decision),
    )
    return ConsumeOutcome(consumption=None, denial=denial)


def _units(value: int | None) -> Units | None:
    return None if value is None else Units(value)
