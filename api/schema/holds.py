"""Holds: units and credits set aside, and taken for good or given back later."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog.customers import Customer as CustomerRow
from api.gates.held import DEFAULT_SECONDS, Whose
from api.gates.held import Hold as Held
from api.gates.outcome import Denied
from api.gates.principal import Scope
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.decisions import Funding, WindowUsage, funding_of, windows_of
from api.schema.described import described
from api.schema.errors import Refused
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import ONE, Units
from api.schema.words import HoldState


@strawberry.type(
    description="Units set aside, and the credits that pay for them, until it is captured or "
    "voided, or expires. It is resolved once."
)
class Hold:
    """One hold."""

    hold: strawberry.Private[Held]
    id: strawberry.ID
    customer: str
    feature: str
    state: HoldState
    units: Units = strawberry.field(description="As placed.")
    captured: Units = strawberry.field(description="Of these, what was taken for good.")
    held: Units = strawberry.field(description="What is still set aside.")
    charged: Units = strawberry.field(description="Of the units placed, those that credits pay.")
    credits: Units = strawberry.field(description="The credits that these cost.")
    spent_credits: Units = strawberry.field(description="Of these, what was taken for good.")
    held_credits: Units = strawberry.field(description="What is still set aside of them.")
    placed_at: datetime
    expires_at: datetime
    resolved_at: datetime | None
    funding: Funding | None = strawberry.field(
        description="Who pays, as it was placed; null in any other answer."
    )
    balance: Units | None = strawberry.field(
        description="Credits available right after it was placed; null in any other answer, and "
        "where none were asked."
    )
    extra_consumption_id: strawberry.ID | None = strawberry.field(
        description="What was captured beyond the hold is a consumption of its own: this one."
    )
    replayed: bool = strawberry.field(
        description="True when the idempotency key had already been answered."
    )

    @described("Right after it was placed; in any other answer as they stand.")
    async def windows(self, info: Info) -> list[WindowUsage]:
        """List the windows that it counts in."""
        if self.hold.funding is not None:
            return windows_of(self.hold.windows)
        if self.feature not in info.context.services.revisions.newest.catalog.features:
            return []
        figures = await info.context.loaders.figures.load((self.customer, self.feature))
        return windows_of(figures or ())

    @described("Who placed it, for the scope SUPPORT; else null.")
    async def actor(self, info: Info) -> str | None:
        """Show who placed it."""
        return self.hold.record.actor if info.context.caller.may(Scope.SUPPORT) else None


@strawberry.input(description="Units to set aside, for so many seconds; at most 31 days.")
class PlaceHoldInput:
    """What to set aside."""

    customer: str
    feature: str
    units: Units = ONE
    seconds: int = DEFAULT_SECONDS
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(
    description="units: what to take for good, left out all that is held; more than that is taken "
    "only if it fits. final: what is not taken is given back, and the hold closed; else it stays "
    "held."
)
class CaptureHoldInput:
    """What to take for good."""

    customer: str
    hold_id: strawberry.ID
    units: Units | None = strawberry.UNSET
    final: bool = True
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input
class VoidHoldInput:
    """What to give back."""

    customer: str
    hold_id: strawberry.ID
    idempotency_key: str | None = strawberry.UNSET


@strawberry.input(description="seconds: how long it is to stand from now; at most 31 days.")
class ExtendHoldInput:
    """What is to stand longer."""

    customer: str
    hold_id: strawberry.ID
    seconds: int
    idempotency_key: str | None = strawberry.UNSET


@strawberry.type
class HoldActions:
    """Setting aside, and what becomes of it."""

    @described(
        "Set units aside: they count against every limit at once, and the credits that they cost "
        "are held. Denied: null, and an error with code and status, as of consume."
    )
    async def place_hold(self, info: Info, input: PlaceHoldInput) -> Hold | None:  # noqa: A002 - as elsewhere
        """Set aside, or raise the denial."""
        context = info.context
        placed = await context.services.holding.place(
            input.customer,
            input.feature,
            input.units,
            given(input.idempotency_key),
            context.at_ms,
            seconds=input.seconds,
            actor=context.caller.actor,
        )
        return _answer(context, placed)

    @described(
        "Take units of a hold for good. More than it holds is taken only if it fits, all or "
        "nothing: denied, the hold stays as it was."
    )
    async def capture_hold(self, info: Info, input: CaptureHoldInput) -> Hold | None:  # noqa: A002 - likewise
        """Take, or raise the denial."""
        context = info.context
        whose = _whose(context, input)
        captured = await context.services.holding.capture(
            whose, units=given(input.units), final=input.final
        )
        return _answer(context, captured)

    @described("Give back all that a hold still holds.")
    async def void_hold(self, info: Info, input: VoidHoldInput) -> Hold | None:  # noqa: A002 - likewise
        """Give back."""
        whose = _whose(info.context, input)
        return _answer(info.context, await info.context.services.holding.void(whose))

    @described("Let a hold stand longer than it would.")
    async def extend_hold(self, info: Info, input: ExtendHoldInput) -> Hold | None:  # noqa: A002 - likewise
        """Extend."""
        whose = _whose(info.context, input)
        extended = await info.context.services.holding.extend(whose, input.seconds)
        return _answer(info.context, extended)

    @described("Give back all that a hold still holds, as an operator: with a reason, on record.")
    async def end_hold(
        self, info: Info, customer: str, hold_id: strawberry.ID, reason: str
    ) -> Hold | None:
        """Give back, on record."""
        context = info.context
        whose = Whose(customer, hold_id, None, context.at_ms, context.caller.actor)
        return _answer(context, await context.services.holding.end(whose, reason))


async def holds_of(
    context: Context, customer: CustomerRow, first: int, after: str | None, state: HoldState | None
) -> Connection[Hold]:
    """Return a page of a customer's holds, the newest first. Raises: InvalidInput."""
    expect_first(first, context.services.max_page_size)
    rows = await context.services.holding.list_(
        customer.key,
        first + 1,
        state=state,
        after=None if after is None else ids.place("Hold", after),
    )
    return page(
        rows,
        first,
        after=after,
        cursor=lambda hold: ids.cursor("Hold", hold.id),
        node=_hold_of,
    )


def _whose(context: Context, asked: CaptureHoldInput | VoidHoldInput | ExtendHoldInput) -> Whose:
    return Whose(
        asked.customer,
        asked.hold_id,
        given(asked.idempotency_key),
        context.at_ms,
        context.caller.actor,
    )


def _answer(context: Context, outcome: Held | Denied) -> Hold:
    """Show what came of it. Raises: Refused."""
    context.note(outcome)
    if isinstance(outcome, Denied):
        raise Refused(outcome)
    context.loaders.forget()
    return _hold_of(outcome)


def _hold_of(hold: Held) -> Hold:
    record = hold.record
    return Hold(
        hold=hold,
        id=strawberry.ID(hold.id),
        customer=hold.customer,
        feature=hold.feature,
        state=record.state,
        units=Units(record.units),
        captured=Units(record.captured),
        held=Units(record.held),
        charged=Units(record.charged),
        credits=Units(record.credits),
        spent_credits=Units(record.spent),
        held_credits=Units(record.held_credits),
        placed_at=record.at,
        expires_at=record.expires_at,
        resolved_at=record.resolved_at,
        funding=funding_of(hold.funding),
        balance=None if hold.balance is None else Units(hold.balance),
        extra_consumption_id=None if hold.extra is None else strawberry.ID(hold.extra),
        replayed=hold.replayed,
    )
