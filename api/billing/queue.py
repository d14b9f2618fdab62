"""What reconciliation found that takes an act or a person, until it is put right.

An item is acted on outside of any transaction, under an idempotency key made of its number, and is
resolved by what is found afterwards, never by the answer to the act. So whoever dies in between, or
is told twice, is followed by somebody who does the same again to no further effect.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from api.billing import invoices
from api.billing.account import Account
from api.billing.differences import duplicates
from api.billing.findings import OwnFindings, QueueKind
from api.billing.looks import Look, look
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
_LOOKED_AFTER = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)

_acted = counter(
    "billing_reconciliation_acts", "Attempts to put a finding right.", ["kind", "outcome"]
)


class _NotYet(HeadroomError):
    """It was acted on, and is not put right so far."""


class ReconciliationQueue:
    """Acts on findings of one provider; any number of processes may run one."""

    def __init__(
        self,
        database: Database,
        account: Account,
        revisions: Revisions,
        *,
        most_attempts: int = MOST_ATTEMPTS,
    ) -> None:
        self._database = database
        self._account = account
        self._revisions = revisions
        self._most_attempts = most_attempts
        self._own = OwnFindings(database, account, revisions)

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
        over = row["attempts"] >= self._most_attempts
        state = "given_up" if over else "open"
        pause = _LOOKED_AFTER if isinstance(error, _NotYet) else pause_after(row["attempts"])
        async with self._database.transaction() as conn:
            await conn.execute(
                _sql.failed, row["id"], row["attempts"], state, at + pause, said[:1000]
            )
            if over:
                message = f"Given up after {row['attempts']} attempts: {said}"[:1000]
                await alert(
                    conn,
                    f"{kind.value}.given_up",
                    message,
                    subject=row["object_id"],
                    at=at,
                    period=at,
                    severity=Severity.CRITICAL,
                )
        _acted.labels(kind.value, state).inc()
        log.warning("a finding is not put right: %s", said, extra={"object": row["object_id"]})

    async def _act(self, row: Record, at: datetime) -> None:
        """Put an item right and resolve it. Raises: why it is not right yet."""
        match QueueKind(row["kind"]):
            case QueueKind.DUPLICATE_SUBSCRIPTION:
                await self._end_duplicate(row, at)
            case QueueKind.ABANDONED_CHANGE:
                await self._drop_change(row, at)
            case QueueKind.MISSING_CREDITS:
                await self._expect_credits(row, at)
            case QueueKind.UNKNOWN_SUBSCRIPTION:
                await self._expect_payer(row, at)
            case QueueKind.DOUBLE_INVOICE:
                await self._expect_one_invoice(row, at)

    async def _end_duplicate(self, row: Record, at: datetime) -> None:
        name = row["object_id"]
        if not await self._still_extra(row, at):
            await self._resolve(row, "It is no duplicate any more.", at)
            return
        told = await self._account.subscription(name)
        if told.status not in TERMINAL:
            await self._account.end(name, f"headroom-duplicate-{row['id']}")
            told = await self._account.subscription(name)
        await self._look(Look.SUBSCRIPTION, name, at)
        if told.status not in TERMINAL:
            raise _NotYet(f"It is still {told.status.value} at the provider.")
        known = await subscriptions.find(self._database, self._account.name, name)
        if known is not None and known.status not in TERMINAL:
            raise _NotYet("It has ended at the provider; the record is about to follow.")
        await self._resolve(row, "Ended at the provider.", at)

    async def _still_extra(self, row: Record, at: datetime) -> bool:
        """Judge again, by the provider's objects: meanwhile the other one may have ended."""
        held = await subscriptions.by_customer(self._database, row["customer_id"])
        catalog = (await self._revisions.current()).catalog
        ours = [one for one in held if one.provider == self._account.name]
        kind = await self._database.fetchval(_sql.type_of, row["customer_id"])
        extra = {one.provider_id for one in duplicates(catalog, ours, kind)}
        if row["object_id"] not in extra:
            # Ended by us in an attempt before, and the record has followed; or no duplicate at all.
            return False
        kept = [one for one in ours if one.provider_id not in extra]
        for one in kept:
            if one.status in TERMINAL or one.plan is None:
                continue
            told = await self._account.subscription(one.provider_id)
            if told.status in TERMINAL:
                await self._look(Look.SUBSCRIPTION, one.provider_id, at)
                raise _NotYet("The one to be kept has ended at the provider: judged anew.")
        return True

    async def _drop_change(self, row: Record, at: datetime) -> None:
        name = row["object_id"]
        told = await self._account.subscription(name)
        if told.pending and told.status not in TERMINAL:
            finding = "A change of plan waits for its payment since 72 hours."
            async with self._database.transaction() as conn:
                await alert(conn, row["kind"], finding, subject=name, at=at, period=row["found_at"])
            await self._account.drop_change(name, f"headroom-abandoned-{row['id']}")
            told = await self._account.subscription(name)
        await self._look(Look.SUBSCRIPTION, name, at)
        if told.pending and told.status not in TERMINAL:
            raise _NotYet("The change still waits at the provider.")
        known = await subscriptions.find(self._database, self._account.name, name)
        if known is not None and known.pending_plan is not None and known.status not in TERMINAL:
            raise _NotYet("It is settled at the provider; the record is about to follow.")
        await self._resolve(row, "No change waits any more.", at)

    async def _expect_credits(self, row: Record, at: datetime) -> None:
        lacking = await self._database.fetch(
            _sql.not_granted, self._account.name, [row["object_id"]]
        )
        if not lacking:
            await self._resolve(row, "Granted.", at)
            return
        await self._look(Look.CHECKOUT, row["object_id"], at)
        raise _NotYet("Its checkout is read again; webhooks list says what hinders the grant.")

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
        raise _NotYet(f"Nobody is known to be {told.customer}: say who it is, or end it.")

    async def _expect_one_invoice(self, row: Record, at: datetime) -> None:
        if not await invoices.still_double(self._database, self._account.name, row["object_id"]):
            await self._resolve(row, "One invoice asks money for the period.", at)
            return
        await self._look(Look.INVOICE, row["object_id"], at)
        raise _NotYet("A person refunds or voids one of the two, then resolves this.")

    async def _look(self, kind: Look, object_id: str, at: datetime) -> None:
        async with self._database.transaction() as conn:
            await look(conn, self._account.name, kind, [object_id], at)

    async def _resolve(self, row: Record, how: str, at: datetime) -> None:
        async with self._database.transaction() as conn:
            await conn.fetchrow(_sql.resolved, row["id"], at, "headroom:reconciliation", how)


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: a minute, doubling, at most six hours."""
    return min(timedelta(minutes=2 ** min(attempts - 1, 20)), _LONGEST_PAUSE)
