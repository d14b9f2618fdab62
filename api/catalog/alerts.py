"""Alerts: what a person should know of, once for each window; a durable row, and a metric.

Whoever finds something raises it in the transaction that records what was found. An alert is never
withdrawn: a person acknowledges it, with a reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from api.catalog import audit
from api.domain.catalog import MAX_UNITS
from api.domain.errors import NotFound
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id, counter

_sql = Queries.load("alerts")
log = logging.getLogger(__name__)

MOST_IN_A_PAGE = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_raised = counter(
    "billing_alerts", "Alerts that this process raised, each once.", ["kind", "severity"]
)


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; ``subject`` is what it is about, empty where it is about everything.

    ``period`` is the beginning of the window within which it is not raised again.
    """

    id: int
    kind: str
    severity: Severity
    subject: str
    period: datetime
    at: datetime
    message: str
    detail: Mapping[str, object]
    correlation_id: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


def window_of(at: datetime, length: timedelta) -> datetime:
    """Return the beginning of the window of this length that holds ``at``; windows touch."""
    return at - (at - _EPOCH) % length


async def alert(
    on: Connection | Database,
    kind: str,
    message: str,
    *,
    at: datetime,
    period: datetime,
    severity: Severity = Severity.WARNING,
    subject: str = "",
    detail: Mapping[str, object] | None = None,
) -> bool:
    """Raise an alert unless this window has it; return whether it is new. Raises: Unavailable.

    ``message`` says what to do. The metric counts also what a caller then rolls back.
    """
    row = await on.fetchrow(
        _sql.alert,
        kind,
        severity.value,
        subject,
        period,
        at,
        message,
        dict(detail or {}),
        correlation_id(),
    )
    if row is None:
        return False
    _raised.labels(kind, severity.value).inc()
    log.warning("alert: %s", message, extra={"kind": kind, "subject": subject})
    return True


async def list_(
    database: Database,
    *,
    first: int = 50,
    open_only: bool = False,
    kind: str | None = None,
    before: int | None = None,
) -> list[Alert]:
    """Return at most ``first`` alerts, newest first, older than the alert ``before``."""
    rows = await database.fetch(
        _sql.page,
        MAX_UNITS if before is None else before,
        open_only,
        kind,
        min(max(first, 0), MOST_IN_A_PAGE),
    )
    return [_alert(row) for row in rows]


async def acknowledge(
    database: Database, alert_id: int, *, actor: str, reason: str, at: datetime
) -> Alert:
    """Say that somebody has seen to it; the first who does stays named.

    Raises: NotFound, InvalidInput.
    """
    async with database.transaction() as conn:
        row = await conn.fetchrow(_sql.lock_alert, alert_id)
        if row is None:
            raise NotFound(f"There is no alert {alert_id}.")
        if row["acknowledged_at"] is not None:
            return _alert(row)
        await audit.record(
            conn,
            at=at,
            actor=actor,
            action="alerts.acknowledge",
            reason=reason,
            detail={"alert": alert_id, "kind": row["kind"], "subject": row["subject"]},
            correlation_id=correlation_id(),
        )
        [done] = await conn.fetch(_sql.acknowledge, alert_id, at, actor, reason)
    return _alert(done)


def _alert(row: Record) -> Alert:
    return Alert(
        id=row["id"],
        kind=row["kind"],
        severity=Severity(row["severity"]),
        subject=row["subject"],
        period=row["period"],
        at=row["at"],
        message=row["message"],
        detail=row["detail"],
        correlation_id=row["correlation_id"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        note=row["note"],
    )
