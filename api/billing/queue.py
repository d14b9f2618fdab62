"""What reconciliation found that takes an act or a person, until it is put right.

An item is acted on outside of any transaction, under an idempotency key of the attempt, and is
resolved by what is found afterwards, never by the answer to the act. So whoever dies in between, or
is told twice, is followed by somebody who reads first what there is left to do.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from api.billing import invoices
from api.billing.account import Account
from api.billing.ending_duplicates import MOST_AN_HOUR, EndingDuplicates
from api.billing.findings import (
    ABANDONED_AFTER,
    ITSELF,
    ForAPerson,
    NotBefore,
    NotYet,
    OwnFindings,
    QueueKind,
    key_of,
    look_at,
)
from api.billing.looks import Look
from api.billing.problems import NotAtProvider
from api.catalog import audit, subscriptions
from api.catalog.alerts import Severity, alert
from api.catalog.revisions import Revisions
from api.domain.catalog import MAX_UNITS
from api.domain.errors import HeadroomError, NotFound
from api.domain.event_order import TERMINAL
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id, counter

_sql = Queries.load("reconciliation")
log = logging.getLogger(__name__)

MOST_ATTEMPTS = 10
MOST_AT_ONCE = 20
MOST_IN_A_PAGE = 200
HELD_FOR = timedelta(minutes=2)
_LONGEST_PAUSE = timedelta(hours=6)

_acted = counter(
    "billing_reconciliation_acts", "Attempts to put a finding right.", ["kind", "outcome"]
)


class ReconciliationQueue:
    """Acts on findings of one provider; any number of processes may run one."""

    def __init__(
        self,
        database: Database,
        account: Account,
        revisions: Revisions,
        *,
        most_attempts: int = MOST_ATTEMPTS,
        most_ended_an_hour: int = MOST_AN_HOUR,
    ) -> None:
        self._database = database
        self._account = account
        self._most_attempts = most_attempts
        self._own = OwnFindings(database, account, revisions)
        self._duplicates = EndingDuplicates(
            database, account, revisions, most_an_hour=most_ended_an_hour
        )

    async def run_once(self, at: datetime) -> int:
        """Find what our own record shows, and act on what is due; return how many were acted on.

        Raises: Unavailable, where the record is.
        """
        await self._own.duplicates(at)
        await self._own.abandoned(at)
        if not self._account.reads:
            return 0
        rows = await self._database.fetch(
            _sql.claim, self._account.name, at, at + HELD_FOR, MOST_AT_ONCE
        )
        for row in rows:
            await self._attempt(row, at)
        return len(rows)

    async def list_(
        self, *, first: int = 50, state: str | None = None, before: int | None = None
    ) -> list[Record]:
        """Return at most ``first`` items, newest first."""
        count = min(max(first, 0), MOST_IN_A_PAGE)
        return await self._database.fetch(
            _sql.list, state, MAX_UNITS if before is None else before, count
        )

    async def retry(self, item: int, *, actor: str, reason: str, at: datetime) -> None:
        """Have an item acted on again from the start. Raises: NotFound."""
        async with self._database.transaction() as conn:
            row = await conn.fetchrow(_sql.retry, item, at)
            await self._on_record(conn, row, item, "reconciliation.retry", (actor, reason), at)

    async def resolve(self, item: int, *, actor: str, reason: str, at: datetime) -> None:
        """Say that a person put an item right, or that nothing has to be done. Raises: NotFound."""
        async with self._database.transaction() as conn:
            row = await conn.fetchrow(_sql.resolved, item, at, actor, reason)
            await self._on_record(conn, row, item, "reconciliation.resolve", (actor, reason), at)

    async def _on_record(
        self,
        conn: Connection,
        row: Record | None,
        item: int,
        action: str,
        who: tuple[str, str],
        at: datetime,
    ) -> None:
        if row is None:
            raise NotFound(f"There is no open finding {item}.")
        await audit.record(
            conn,
            at=at,
            actor=who[0],
            action=action,
            reason=who[1],
            customer_id=row["customer_id"],
            detail={"item": item, "kind": row["kind"], "object": row["object_id"]},
            correlation_id=correlation_id(),
        )

    async def _attempt(self, row: Record, at: datetime) -> None:
        # Not even a bug may stop the queue, so whatever was raised is looked at as a value.
        (error,) = await asyncio.gather(self._act(row, at), return_exceptions=True)
        kind = QueueKind(row["kind"])
        if error is None:
            _acted.labels(kind.value, "resolved").inc()
            return
        if not isinstance(error, Exception):
            raise error
        said = error.message if isinstance(error, HeadroomError) else f"{type(error).__name__}"
        if not isinstance(error, HeadroomError):
            log.error("a finding could not be acted on", exc_info=error)
        if isinstance(error, NotBefore):
            await self._database.execute(
                _sql.postpone, row["id"], row["attempts"], error.until, said[:1000]
            )
            return
        state = await self._failed(row, error, said, at)
        _acted.labels(kind.value, state).inc()
        log.warning("a finding is not put right: %s", said, extra={"object": row["object_id"]})

    async def _failed(self, row: Record, error: Exception, said: str, at: datetime) -> str:
        """Write down that an attempt came to nothing, and what follows; return that."""
        kind, subject, period = f"{row['kind']}.given_up", row["object_id"], at
        message = f"Given up after {row['attempts']} attempts: {said}"
        over = row["attempts"] >= self._most_attempts
        if isinstance(error, ForAPerson):
            kind, subject, period = error.alert, error.subject, error.period
            message, over = said, True
        state = "given_up" if over else "open"
        again_at = at + pause_after(row["attempts"])
        async with self._database.transaction() as conn:
            last = await conn.fetchval(
                _sql.failed, row["id"], row["attempts"], state, again_at, said[:1000]
            )
            if over and last is not None:
                await alert(
                    conn,
                    kind,
                    message[:1000],
                    subject=subject,
                    at=at,
                    period=period,
                    severity=Severity.CRITICAL,
                )
        return state

    async def _act(self, row: Record, at: datetime) -> None:
        """Put an item right and resolve it. Raises: why it is not right yet."""
        match QueueKind(row["kind"]):
            case QueueKind.DUPLICATE_SUBSCRIPTION:
                await self._resolve(row, await self._duplicates.attempt(row, at), at)
            case QueueKind.ABANDONED_CHANGE:
                await self._drop_change(row, at)
            case QueueKind.MISSING_CREDITS:
                await self._expect_credits(row, at)
            case QueueKind.UNKNOWN_SUBSCRIPTION:
                await self._expect_payer(row, at)
            case QueueKind.DOUBLE_INVOICE:
                await self._expect_one_invoice(row, at)

    async def _drop_change(self, row: Record, at: datetime) -> None:
        """Let go of the change that waits, if it is that one which has waited for so long."""
        name = row["object_id"]
        change = await self._account.waiting_change(name)
        if change is not None and change.since + ABANDONED_AFTER > at:
            raise NotBefore(
                f"Another change waits, since {change.since:%Y-%m-%d %H:%M}.",
                change.since + ABANDONED_AFTER,
            )
        if change is not None:
            finding = "A change of plan waits for its payment since 72 hours."
            async with self._database.transaction() as conn:
                await alert(conn, row["kind"], finding, subject=name, at=at, period=row["found_at"])
            await self._account.drop_change(change, f"headroom-abandoned-{key_of(row)}")
            change = await self._account.waiting_change(name)
        await self._look(Look.SUBSCRIPTION, name, at)
        if change is not None:
            raise NotYet("The change still waits at the provider.")
        known = await subscriptions.find(self._database, self._account.name, name)
        if known is not None and known.pending_plan is not None and known.status not in TERMINAL:
            raise NotYet("It is settled at the provider; the record is about to follow.")
        await self._resolve(row, "No change waits any more.", at)

    async def _expect_credits(self, row: Record, at: datetime) -> None:
        lacking = await self._database.fetch(
            _sql.not_granted, self._account.name, [row["object_id"]]
        )
        if not lacking:
            await self._resolve(row, "Granted.", at)
            return
        await self._look(Look.CHECKOUT, row["object_id"], at)
        raise NotYet("Its checkout is read again; webhooks list says what hinders the grant.")

    async def _expect_payer(self, row: Record, at: datetime) -> None:
        name = row["object_id"]
        known = await subscriptions.find(self._database, self._account.name, name)
        if known is not None:
            await self._resolve(row, "It is known now.", at)
            return
        try:
            told = await self._account.subscription(name)
        except NotAtProvider:
            await self._resolve(row, "The provider has it no more.", at)
            return
        if told.status in TERMINAL:
            await self._resolve(row, "Ended at the provider.", at)
            return
        await self._look(Look.SUBSCRIPTION, name, at)
        raise NotYet(f"Nobody is known to be {told.customer}: say who it is, or end it.")

    async def _expect_one_invoice(self, row: Record, at: datetime) -> None:
        if not await invoices.still_double(self._database, self._account.name, row["object_id"]):
            await self._resolve(row, "One invoice asks money for the period.", at)
            return
        await self._look(Look.INVOICE, row["object_id"], at)
        raise NotYet("A person refunds or voids one of the two, then resolves this.")

    async def _look(self, kind: Look, object_id: str, at: datetime) -> None:
        await look_at(self._database, self._account.name, kind, [object_id], at)

    async def _resolve(self, row: Record, how: str, at: datetime) -> None:
        async with self._database.transaction() as conn:
            await conn.fetchrow(_sql.resolved, row["id"], at, ITSELF, how)


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: a minute, doubling, at most six hours."""
    return min(timedelta(minutes=2 ** min(attempts - 1, 20)), _LONGEST_PAUSE)
