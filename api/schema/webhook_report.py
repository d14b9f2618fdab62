"""What came of deliveries as a whole, and fetching those that never came."""

from __future__ import annotations

from datetime import date, datetime

import strawberry

from api.billing import webhook_report as figures
from api.schema.context import Info
from api.schema.described import described
from api.schema.given import given


@strawberry.type(description="How many events of one type stand in one state.")
class WebhookTypeOutcome:
    """One line."""

    type: str
    state: str
    count: int


@strawberry.type(description="How many events of one type one problem hinders.")
class WebhookTypeFailure:
    """One line."""

    type: str
    problem: str
    count: int


@strawberry.type(description="How many deliveries were refused for one reason.")
class WebhookRefusals:
    """One line."""

    reason: str
    count: int


@strawberry.type(description="One UTC day; missed events came from the provider's list.")
class WebhookDay:
    """One line."""

    day: date
    delivered: int
    missed: int
    gap: bool = strawberry.field(description="Nothing was delivered.")


@strawberry.type(description="What came of deliveries within a window.")
class WebhookReport:
    """One window."""

    since: datetime
    until: datetime
    last_event_at: datetime | None
    received: int
    missed: int
    refused: int
    success_rate: float | None = strawberry.field(
        description="The share of settled events that were applied or had nothing to follow."
    )
    by_type: list[WebhookTypeOutcome]
    failures: list[WebhookTypeFailure]
    refusals: list[WebhookRefusals]
    days: list[WebhookDay]


@strawberry.type(description="What a pass over the provider's list of events found.")
class WebhookCatchUp:
    """One pass."""

    since: datetime
    listed: int
    missed: int
    beyond_reach: bool = strawberry.field(
        description="It should have begun before the list does: reconcile."
    )


@strawberry.type
class WebhookReportQuestions:
    """What came of it."""

    @described("What came of deliveries within the last minutes.")
    async def webhook_report(self, info: Info, window_minutes: int = 1440) -> WebhookReport:
        """Report on a window. Raises: InvalidInput."""
        context = info.context
        services = context.services
        found = await figures.webhook_report(
            services.database, services.inbox.provider, minutes=window_minutes, at=context.at
        )
        return WebhookReport(
            since=found.since,
            until=found.until,
            last_event_at=found.last_event_at,
            received=found.received,
            missed=found.missed,
            refused=found.refused,
            success_rate=found.success_rate,
            by_type=[
                WebhookTypeOutcome(type=r.type, state=r.state, count=r.count) for r in found.by_type
            ],
            failures=[
                WebhookTypeFailure(type=r.type, problem=r.problem, count=r.count)
                for r in found.failures
            ],
            refusals=[WebhookRefusals(reason=r.reason, count=r.count) for r in found.refusals],
            days=[
                WebhookDay(day=r.day, delivered=r.delivered, missed=r.missed, gap=r.gap)
                for r in found.days
            ],
        )


@strawberry.type
class WebhookReportActions:
    """Fetching what never came."""

    @described("Fetch events that were never delivered, since an instant or the last pass.")
    async def catch_up_webhooks(
        self, info: Info, reason: str, since: datetime | None = strawberry.UNSET
    ) -> WebhookCatchUp | None:
        """Catch up. Raises: InvalidInput, Unavailable."""
        context = info.context
        found = await context.services.catch_up.since(
            given(since), actor=context.caller.actor, reason=reason, at=context.at
        )
        return WebhookCatchUp(
            since=found.since,
            listed=found.listed,
            missed=found.missed,
            beyond_reach=found.beyond_reach,
        )
