"""What is found to take an act or a person, and what our own record shows of it unasked.

A finding is queued once for each object while it is open, by whoever comes upon it first; what is
done about it is `queue.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from api.billing.account import Account
from api.billing.duplicates import extras
from api.billing.looks import Look, look
from api.catalog import subscriptions
from api.catalog.alerts import alert
from api.catalog.revisions import Revisions
from api.domain.errors import HeadroomError
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("reconciliation")

ABANDONED_AFTER = timedelta(hours=72)
SETTLES_AFTER = timedelta(minutes=15)
"""How long two live subscriptions may stand side by side before one is ended: whoever swaps one for
another makes the new one first, and invoices come a little after what they pay for."""
ITSELF = "headroom:reconciliation"
"""Who resolves what nobody has to decide; what anybody else resolved is final."""
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


class NotYet(HeadroomError):
    """It was acted on, and is not put right so far."""


class NotBefore(HeadroomError):
    """It was found too early; nothing was attempted."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class ForAPerson(HeadroomError):
    """It is not to be acted on before a person has decided; told once for ``period``."""

    def __init__(self, message: str, *, alert: str, subject: str, period: datetime) -> None:
        super().__init__(message)
        self.alert, self.subject, self.period = alert, subject, period


async def enqueue(
    conn: Connection,
    provider: str,
    finding: Finding,
    at: datetime,
    *,
    wait: timedelta = timedelta(0),
) -> bool:
    """Queue a finding; return whether it is new: neither queued, nor resolved by a person."""
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


async def left_alone(database: Database, provider: str, names: Sequence[str]) -> set[str]:
    """Return those subscriptions that a person said to leave beside others."""
    rows = await database.fetch(_sql.left_alone, provider, list(names))
    return {row["object_id"] for row in rows}


async def look_at(
    database: Database, provider: str, kind: Look, names: Sequence[str], at: datetime
) -> None:
    """Have objects read again, in a transaction of its own."""
    async with database.transaction() as conn:
        await look(conn, provider, kind, names, at)


def key_of(row: Record) -> str:
    """Return a word for this attempt alone, to make an idempotency key of.

    A provider repeats its answer under a key for a day, its own failures too. Each attempt reads
    first what the one before it left behind, so it needs no answer of that.
    """
    return f"{row['id']}-{row['attempts']}-{row['next_attempt_at']:%Y%m%d%H%M%S}"


class OwnFindings:
    """Finds what our own record of one provider shows, without asking the provider."""

    def __init__(self, database: Database, account: Account, revisions: Revisions) -> None:
        self._database = database
        self._account = account
        self._revisions = revisions

    async def duplicates(self, at: datetime) -> None:
        """Queue each live subscription that is one too many; resolve those given up that are not.

        Whoever is found is left for a while: see ``SETTLES_AFTER``.
        """
        after, provider = 0, self._account.name
        while rows := await self._database.fetch(_sql.several, provider, after, _IN_A_BATCH):
            after = rows[-1]["customer_id"]
            types = {row["customer_id"]: row["type"] for row in rows}
            for finding in (await self._extra(types, at)).values():
                await self._found(
                    finding,
                    "The subscription named is one too many of its customer. It is ended after "
                    f"{SETTLES_AFTER.seconds // 60} minutes where that is clear: refund it. "
                    "`headroom reconciliation resolve` leaves it.",
                    at,
                )
        after = 0
        while rows := await self._database.fetch(
            _sql.given_up_duplicates, provider, after, _IN_A_BATCH
        ):
            after = rows[-1]["id"]
            types = {row["customer_id"]: row["type"] for row in rows}
            still = await self._extra(types, at)
            for row in rows:
                if row["object_id"] not in still:
                    how = "It is no duplicate any more."
                    await self._database.fetch(_sql.resolved, row["id"], at, ITSELF, how)

    async def _extra(self, types: Mapping[int, str], at: datetime) -> dict[str, Finding]:
        """Return what is one too many of customers of these types, by the provider's id."""
        catalog = (await self._revisions.current()).catalog
        provider, found = self._account.name, dict[str, Finding]()
        held = await subscriptions.by_customers(self._database, list(types))
        ours = {i: [one for one in all_ if one.provider == provider] for i, all_ in held.items()}
        names = [one.provider_id for some in ours.values() for one in some]
        left = await left_alone(self._database, provider, names)
        for customer_id, some in ours.items():
            for extra in extras(catalog, some, types[customer_id], at, left_alone=left):
                record = extra.record
                detail = {"plan": record.plan, "status": record.status.value}
                found[record.provider_id] = Finding(
                    QueueKind.DUPLICATE_SUBSCRIPTION,
                    record.provider_id,
                    customer_id,
                    detail | {"beside": extra.kept.provider_id},
                )
        return found

    async def abandoned(self, at: datetime) -> None:
        """Queue each change that waits for its payment, to be acted on when it has for long.

        One that waits no more is resolved, so that the next one is another.
        """
        await self._database.execute(_sql.changes_over, self._account.name, at)
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
            if await enqueue(conn, self._account.name, finding, at, wait=SETTLES_AFTER):
                await alert(
                    conn,
                    finding.kind.value,
                    message,
                    subject=finding.object_id,
                    at=at,
                    period=at,
                )
