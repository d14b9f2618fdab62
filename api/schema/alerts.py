"""Alerts: what a person should know of."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import strawberry

from api.catalog import alerts
from api.domain.errors import NotFound
from api.schema import ids
from api.schema.context import Info
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json


@strawberry.enum(description="How soon somebody should look.")
class AlertSeverity(StrEnum):
    """Three words."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@strawberry.type(description="What a person should know of; raised once for each window.")
class Alert:
    """One alert."""

    id: strawberry.ID
    kind: str
    severity: AlertSeverity
    subject: str = strawberry.field(description="What it is about; empty: about everything.")
    period: datetime = strawberry.field(description="The beginning of its window.")
    at: datetime
    message: str
    detail: Json
    correlation_id: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


@strawberry.type
class AlertQuestions:
    """What was raised."""

    @described("Alerts, the last first; those that nobody has seen to, or all.")
    async def alerts(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        kind: str | None = strawberry.UNSET,
        open_only: bool = True,  # noqa: FBT001, FBT002 - an argument of the schema
    ) -> Connection[Alert]:
        """List alerts."""
        services = info.context.services
        expect_first(first, min(services.max_page_size, alerts.MOST_IN_A_PAGE - 1))
        rows = await alerts.list_(
            services.database,
            first=first + 1,
            open_only=open_only,
            kind=given(kind),
            before=ids.place_number("Alert", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda row: ids.cursor("Alert", row.id),
            node=_alert_of,
        )


@strawberry.type
class AlertActions:
    """Seeing to it."""

    @described("Say that somebody has seen to an alert.")
    async def acknowledge_alert(self, info: Info, id: strawberry.ID, reason: str) -> Alert | None:  # noqa: A002 - the contract's word
        """Acknowledge one. Raises: NotFound."""
        if not (id.isascii() and id.isdigit() and len(id) < 19):  # noqa: PLR2004 - digits of 2^63
            raise NotFound(f"There is no alert {id[:50]!r}.")
        context = info.context
        row = await alerts.acknowledge(
            context.services.database,
            int(id),
            actor=context.caller.actor,
            reason=reason,
            at=context.at,
        )
        return _alert_of(row)


def _alert_of(row: alerts.Alert) -> Alert:
    return Alert(
        id=strawberry.ID(str(row.id)),
        kind=row.kind,
        severity=AlertSeverity(row.severity.value),
        subject=row.subject,
        period=row.period,
        at=row.at,
        message=row.message,
        detail=Json(row.detail),
        correlation_id=row.correlation_id,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        note=row.note,
    )
