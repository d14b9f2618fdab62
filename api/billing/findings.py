"""What is found to take an act or a person, and what our own record shows of it unasked.

A finding is queued once for each object while it is open, by whoever comes upon it first; what is
done about it is `queue.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from api.billing.account import Account
from api.billing.differences import duplicates as extras
from api.catalog import subscriptions
from api.catalog.alerts import alert
from api.catalog.revisions import Revisions
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("reconciliation")

ABANDONED_AFTER = timedelta(hours=72)
_IN_A_BATCH = 500


class QueueKind(StrEnum):
    """What was found."""

    DUPLICATE_SUBSCRIPTION = "duplicate_subscription"
    """A live subscription beside another of the same customer."""
    UNKNOWN_SUBSCRIPTION = "unknown_subscription"
    """A live subscription of nobody whom we know: a person says who it is, or ends it."""
    DOUBLE_INVOICE = "double_invoice"
    """Two invoices for one period of one subscription: a person decides on a refund."""
    ABANDONED_CHANGE = "abandoned_change"
    """A change that still waits for its payment after ``ABANDONED_AFTER``."""
    MISSING_CREDITS = "missing_credits"
    """A paid checkout whose credits were never given."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to be put right, once for each object."""

    kind: QueueKind
    object_id: str
    customer_id: int | None
    detail: Mapping[str, Any] = field(default_factory=dict)


async def enqueue(
    conn: Connection,
    provider: str,
    finding: Finding,
    at: datetime,
    *,
    wait: timedelta = timedelta(0),
) -> bool:
    """Queue a finding unless it is queued already; return whether it is new."""
    row = await conn.fetchval(
        _sql.queue,
        provider,
        finding.kind.value,
        finding.object_id,
        finding.customer_id,
        at + wait,
        dict(finding.detail),
        at,
        correlation_id(),
    )
    return row is not None


class OwnFindings:
    """Finds what our own record of one provider shows, without asking the provider."""

    def __init__(self, database: Database, account: Account, revisions: Revisions) -> None:
        self._database = database
        self._account = account
        self._revisions = revisions

    async def duplicates(self, at: datetime) -> None:
        """Queue each live subscription beside another that it may not stand beside."""
        after, provider = 0, self._account.name
        catalog = (await self._revisions.current()).catalog
        while rows := await self._database.fetch(_sql.several, provider, after, _IN_A_BATCH):
            types = {row["customer_id"]: row["type"] for row in rows}
            after = rows[-1]["customer_id"]
            for customer_id, held in (
                await subscriptions.by_customers(self._database, list(types))
            ).items():
                ours = [one for one in held if one.provider == provider]
                for extra in extras(catalog, ours, types[customer_id]):
                    finding = Finding(
                        QueueKind.DUPLICATE_SUBSCRIPTION,
                        extra.provider_id,
                        customer_id,
                        {"plan": extra.plan, "status": extra.status.value},
                    )
                    await self._found(
                        finding,
                        "Of two live subscriptions; the one named is being ended: refund it.",
                        at,
                    )

    async def abandoned(self, at: datetime) -> None:
        """Queue each change that waits for its payment, to be acted on when it has for long."""
        rows = await self._database.fetch(_sql.changes_waiting, self._account.name, _IN_A_BATCH)
        async with self._database.transaction() as conn:
            for row in rows:
                finding = Finding(
                    QueueKind.ABANDONED_CHANGE,
                    row["provider_id"],
                    row["customer_id"],
                    {"pending_plan": row["pending_plan"]},
                )
                await enqueue(conn, self._account.name, finding, at, wait=ABANDONED_AFTER)

    async def _found(self, finding: Finding, message: str, at: datetime) -> None:
        async with self._database.transaction() as conn:
            if await enqueue(conn, self._account.name, finding, at):
                await alert(
                    conn,
                    finding.kind.value,
                    message,
                    subject=finding.object_id,
                    at=at,
                    period=at,
                )
