"""What the payment provider told, what became of it, and doing it again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import strawberry

from api.billing import inbox
from api.billing.inbox import StoredEvent
from api.domain.errors import InvalidInput
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.customers import Customer, customer_of
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json


@strawberry.enum(description="What became of an event.")
class WebhookState(StrEnum):
    """Where an event stands."""

    PENDING = "pending"
    APPLIED = "applied"
    IGNORED = "ignored"
    FAILED = "failed"
    PARKED = "parked"


@strawberry.type(description="One event of the payment provider, stored once.")
class WebhookEvent:
    """One event."""

    event: strawberry.Private[StoredEvent]
    provider: str
    event_id: str = strawberry.field(description="The provider's own id of it.")
    type: str
    object_id: str | None
    created_at: datetime
    received_at: datetime
    state: WebhookState
    attempts: int
    next_attempt_at: datetime
    handled_at: datetime | None
    problem: str | None = strawberry.field(description="What hinders it, in one stable word.")
    error: str | None = strawberry.field(description="What hinders it, and what to do.")
    payload: Json

    @strawberry.field
    async def customer(self, info: Info) -> Customer | None:
        """Show whom it concerned, once that is known."""
        if self.event.customer_id is None:
            return None
        row = await info.context.loaders.customers.load(self.event.customer_id)
        return None if row is None else customer_of(row)


@strawberry.enum(description="By what deliveries with a wrong signature are grouped.")
class FailureGrouping(StrEnum):
    """Two ways to look at them."""

    ADDRESS = "address"
    CUSTOMER = "customer"


@strawberry.type(description="A delivery whose signature did not hold; what it claims is unproven.")
class SignatureFailure:
    """One kept delivery, or the count of those like it that came after."""

    at: datetime
    remote_address: str
    user_agent: str | None
    event_id: str | None
    customer: str | None
    reason: str
    count: int


@strawberry.type(description="How many such deliveries one address, or one claimed customer, had.")
class SignatureFailureGroup:
    """One group."""

    name: str
    count: int
    last_at: datetime


@strawberry.type
class WebhookQuestions:
    """What was told."""

    @described("Deliveries whose signature did not hold, the last first.")
    async def signature_failures(
        self, info: Info, first: int = 50, customer: str | None = strawberry.UNSET
    ) -> list[SignatureFailure]:
        """List refused deliveries."""
        services = info.context.services
        expect_first(first, services.max_page_size)
        rows = await services.inbox.failures.list_(customer=given(customer), first=first)
        return [
            SignatureFailure(
                at=row.at,
                remote_address=row.remote_address,
                user_agent=row.user_agent,
                event_id=row.payload_id,
                customer=row.customer,
                reason=row.reason,
                count=row.count,
            )
            for row in rows
        ]

    @described("How many such deliveries there were since an instant, grouped.")
    async def signature_failure_groups(
        self, info: Info, since: datetime, by: FailureGrouping, first: int = 50
    ) -> list[SignatureFailureGroup]:
        """Group refused deliveries."""
        services = info.context.services
        expect_first(first, services.max_page_size)
        kept = services.inbox.failures
        ask = kept.by_address if by is FailureGrouping.ADDRESS else kept.by_customer
        groups = await ask(since, first)
        return [
            SignatureFailureGroup(name=g.name, count=g.count, last_at=g.last_at) for g in groups
        ]

    @described("Events, the last received first.")
    async def webhook_events(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        state: WebhookState | None = strawberry.UNSET,
        type: str | None = strawberry.UNSET,  # noqa: A002 - the provider's word
        customer: str | None = strawberry.UNSET,
    ) -> Connection[WebhookEvent]:
        """List events."""
        services = info.context.services
        expect_first(first, min(services.max_page_size, inbox.MOST_IN_A_PAGE - 1))
        key = given(customer)
        concerned = None if key is None else (await services.customers.get(key)).id
        rows = await services.inbox.list_(
            first=first + 1,
            state=state.value if state else None,
            event_type=given(type),
            customer_id=concerned,
            before=ids.place_number("WebhookEvent", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("WebhookEvent", row.id),
            node=_event_of,
        )

    @described("One event, by the provider's id of it.")
    async def webhook_event(self, info: Info, event_id: str) -> WebhookEvent | None:
        """Show one event. Raises: NotFound."""
        return _event_of(await info.context.services.inbox.show(event_id))


@strawberry.type
class WebhookActions:
    """Doing it again."""

    @described("Have one event handled again from the start. What was applied stays as it is.")
    async def replay_webhook(self, info: Info, event_id: str, reason: str) -> WebhookEvent | None:
        """Replay one event. Raises: NotFound."""
        [row] = await _replay(info.context, [event_id], reason)
        return _event_of(row)

    @described(
        "Have events handled again: those named, those of a type that failed or are parked, or all "
        "that are parked. A dry run only says which."
    )
    async def replay_webhooks(
        self,
        info: Info,
        reason: str,
        event_ids: list[str] | None = strawberry.UNSET,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - an argument of the schema
        type: str | None = strawberry.UNSET,  # noqa: A002 - the provider's word
    ) -> list[WebhookEvent] | None:
        """Replay several. Raises: NotFound, InvalidInput."""
        named, of_type = given(event_ids), given(type)
        if named is not None and of_type is not None:
            raise InvalidInput("Name events, or a type; not both.")
        rows = await _replay(info.context, named, reason, dry_run=dry_run, event_type=of_type)
        return [_event_of(row) for row in rows]


async def _replay(
    context: Context,
    event_ids: list[str] | None,
    reason: str,
    *,
    dry_run: bool = False,
    event_type: str | None = None,
) -> list[StoredEvent]:
    return await context.services.inbox.replay(
        event_ids,
        actor=context.caller.actor,
        reason=reason,
        at=context.at,
        dry_run=dry_run,
        event_type=event_type,
    )


def _event_of(row: StoredEvent) -> WebhookEvent:
    return WebhookEvent(
        event=row,
        provider=row.provider,
        event_id=row.event_id,
        type=row.type,
        object_id=row.object_id,
        created_at=row.created_at,
        received_at=row.received_at,
        state=WebhookState(row.state),
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        handled_at=row.handled_at,
        problem=row.problem,
        error=row.error,
        payload=Json(row.payload),
    )
