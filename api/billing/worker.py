"""What is done with an event: lock the object it is about, read the object, write what it is.

With a key to the provider the event is only a hint, and one reading serves all hints that had
come before it. Without one the state in the event stands for the object, and the newest wins by
``domain.event_order``. Either way the outcome is that of the object, whatever came in which order
and how often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from api.billing import looks, payments, purchases
from api.billing.claims import Claim, Claims, DueEvent, LockLost
from api.billing.payers import Payers
from api.billing.payments import Payment
from api.billing.problems import CutShort, OtherVersion, Unapplicable, UnknownPayer
from api.billing.provider import Hint, Provider, ProviderPurchase, ProviderSubscription
from api.billing.translation import record_of
from api.catalog import subscriptions
from api.catalog.changes import Changes
from api.catalog.revisions import Revisions
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import Catalog
from api.domain.errors import Unavailable
from api.domain.event_order import EventRank, rank_of, supersedes
from api.domain.payments import Told
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.infra.telemetry import correlated, counter
from api.ledger.entries import lock

_sql = Queries.load("billing")
log = logging.getLogger(__name__)

MOST_AT_ONCE = 16

_handled = counter(
    "billing_webhook_handled", "Attempts to apply an event, by outcome.", ["type", "outcome"]
)


class InboxWorker:
    """Handles the events of one provider; any number of processes may run one.

    Whoever runs it listens on ``inbox.CHANNEL`` to be woken by an event, and looks by itself every
    second, as retries fall due and notices can be lost.
    """

    def __init__(
        self, database: Database, provider: Provider, changes: Changes, revisions: Revisions
    ) -> None:
        self._database = database
        self._provider = provider
        self._changes = changes
        self._revisions = revisions
        self._claims = Claims(database, provider.name)
        self._payers = Payers(provider.name)

    async def run_once(self, at: datetime) -> int:
        """Handle a few events that are due; return how many. Raises: Unavailable.

        Events of different objects side by side, those of one object under its lock.
        """
        claims = await self._claims.take(at, MOST_AT_ONCE)
        ended = await asyncio.gather(
            *(self._handle(claim, at) for claim in claims), return_exceptions=True
        )
        for error in ended:
            if error is not None:
                raise error
        return sum(len(claim.events) for claim in claims)

    async def _handle(self, claim: Claim, at: datetime) -> None:
        if self._provider.reads:
            await self._attempt(claim, claim.events, at)
        else:
            for event in claim.events:
                await self._attempt(claim, [event], at)
        await self._claims.give_back(claim)

    async def _attempt(self, claim: Claim, events: Sequence[DueEvent], at: datetime) -> None:
        """Apply events, or keep them with what hinders them; the others go on in any case."""
        with correlated(events[-1].correlation_id):
            # Not even a bug may stop the queue, so whatever was raised is looked at as a value.
            (error,) = await asyncio.gather(self._apply(claim, events, at), return_exceptions=True)
            if len(events) > 1 and _concerns_one(error):
                for event in events:
                    await self._attempt(claim, [event], at)
                return
            match error:
                case None:
                    outcome = "applied"
                case LockLost():
                    outcome = "lock_lost"
                    await self._claims.again(events, at)
                case UnknownPayer():
                    outcome = error.problem
                    await self._claims.fail_unknown(events, error, at)
                case Unapplicable():
                    outcome = error.problem
                    park = True if error.at_once else None
                    await self._claims.fail(events, error.problem, error.message, at, park=park)
                case Unavailable():
                    # An outage ends by itself, however long it lasts.
                    outcome = "unavailable"
                    await self._claims.fail(events, outcome, error.message, at, park=False)
                case Exception():
                    outcome = "bug"
                    log.error("an event could not be applied", exc_info=error)
                    said = f"{type(error).__name__}: {error}"[:1000]
                    await self._claims.fail(events, outcome, said, at, park=None)
                case _:
                    raise error
        for event in events:
            _handled.labels(event.type, outcome).inc()
            with correlated(event.correlation_id):
                facts = {"event": event.event_id, "type": event.type, "object": claim.object_id}
                log.info("event handled: %s", outcome, extra=facts)

    async def _apply(self, claim: Claim, events: Sequence[DueEvent], at: datetime) -> None:
        hints = [await self._hint(event, claim.object_id) for event in events]
        named = next((hint.object_id for hint in hints if hint.object_id), None)
        if named is not None and named != claim.object_id:
            await self._claims.redirect(events, named, at)
            return
        if any(hint.payment for hint in hints):
            await self._apply_payment(claim, events, hints, at)
        elif any(hint.purchase for hint in hints):
            await self._apply_purchase(claim, events, hints, at)
        else:
            await self._apply_subscription(claim, events, hints, at)

    async def _apply_payment(
        self, claim: Claim, events: Sequence[DueEvent], hints: Sequence[Hint], at: datetime
    ) -> None:
        """Write what became of a payment, and what follows for what it bought."""
        payment = Payment(self._provider.name, claim.object_id)
        if self._provider.reads:
            told = [Told(fact, at, "") for fact in await self._provider.payment(payment.id)]
        else:
            told = [
                Told(hint.fact, event.created_at, event.event_id)
                for hint, event in zip(hints, events, strict=True)
                if hint.fact is not None
            ]
        async with self._database.transaction() as conn:
            await self._claims.confirm(conn, claim)
            await payments.hold(conn, payment, at)
            await payments.note(conn, payment, told, whole=self._provider.reads)
            whom = await payments.settle(conn, payment, at)
            await conn.execute(_sql.applied, [event.id for event in events], at, whom)

    async def _apply_purchase(
        self, claim: Claim, events: Sequence[DueEvent], hints: Sequence[Hint], at: datetime
    ) -> None:
        """Grant the pack that a checkout sold."""
        told = await self._bought(claim.object_id, hints)
        revision = await self._revisions.current()
        async with self._database.transaction() as conn:
            await self._claims.confirm(conn, claim)
            ids = [event.id for event in events]
            buyer: int | None = None
            if told is not None:
                payer = await self._payers.buyer_of(conn, told, at)
                buyer, name = payer.id, self._provider.name
                await purchases.take(conn, revision, told, provider=name, customer_id=buyer, at=at)
                await self._payers.rouse(conn, [payer], ids, at)
            await conn.execute(_sql.applied, ids, at, buyer)

    async def _bought(self, checkout_id: str, hints: Sequence[Hint]) -> ProviderPurchase | None:
        """Return what the checkout sells once, as it is, or as its event tells."""
        if not self._provider.reads:
            return hints[0].purchase
        told = await self._provider.purchase(checkout_id)
        if told is None or told.customer is None or told.customer_key is not None:
            return told
        if await self._payers.known(self._database, told):
            return told
        return replace(told, customer_key=await self._provider.customer_key(told.customer))

    async def _apply_subscription(
        self, claim: Claim, events: Sequence[DueEvent], hints: Sequence[Hint], at: datetime
    ) -> None:
        told = await self._told(claim.object_id, hints)
        paid_until = await self._paid_until(hints)
        catalog = (await self._revisions.current()).catalog
        changed: set[int] = set()
        async with self._database.transaction() as conn:
            await self._claims.confirm(conn, claim)
            if paid_until is not None:
                await subscriptions.note_paid(
                    conn, self._provider.name, claim.object_id, paid_until
                )
            introducing = [hint for hint in hints if hint.introduces]
            payers = [await self._payers.introduce(conn, hint, at) for hint in introducing]
            if told is not None:
                payers.append(await self._payers.payer_of(conn, told, at))
                changed = await self._take_over(conn, told, events, (catalog, payers[-1].id), at)
            elif paid_until is not None:
                changed = await self._pay(conn, claim.object_id, paid_until, at)
            whom = payers[-1].id if payers else await self._payers.linked(conn, hints)
            ids = [event.id for event in events]
            await self._payers.rouse(conn, payers, ids, at)
            await conn.execute(_sql.applied, ids, at, whom)
        for customer_id in sorted(changed):
            await self._changes.tell(customer_id, at)

    async def _paid_until(self, hints: Sequence[Hint]) -> datetime | None:
        """Return until when the invoices pay, as they are, or as their events tell."""
        found: list[datetime] = []
        told_of = {h.invoice.id: h.invoice for h in hints if h.invoice and h.subscription}
        for told in told_of.values():
            invoice = await self._provider.invoice(told.id) if self._provider.reads else told
            if not invoice.whole:
                raise CutShort(
                    "The event holds only the first lines of the invoice. Configure a key so that "
                    "the others can be read, then replay."
                )
            if invoice.paid_until is not None:
                found.append(invoice.paid_until)
        return max(found, default=None)

    async def _pay(
        self, conn: Connection, subscription_id: str, until: datetime, at: datetime
    ) -> set[int]:
        """Write until when a subscription is paid for, where it is known already."""
        provider = self._provider.name
        known = await subscriptions.find(conn, provider, subscription_id)
        if known is None or (known.paid_until is not None and known.paid_until >= until):
            return set()

        async def pay(on: Connection) -> None:
            await subscriptions.set_paid(on, provider, subscription_id, until, at)

        await self._changes.change_on(conn, known.customer_id, at, pay)
        return {known.customer_id}

    async def _take_over(
        self,
        conn: Connection,
        told: ProviderSubscription,
        events: Sequence[DueEvent],
        judged: tuple[Catalog, int],
        at: datetime,
    ) -> set[int]:
        """Write what was told, if it is news; return the customers whose rights it concerned."""
        catalog, payer = judged
        known = await subscriptions.find(conn, self._provider.name, told.id)
        newest = max(events, key=lambda event: (event.created_at, event.event_id))
        rank = rank_of(newest.created_at, told.status, newest.event_id)
        standing = _rank_of(known)
        if not self._provider.reads and not supersedes(rank, standing):
            return set()
        if standing is not None:
            rank = max(rank, standing)
        record = record_of(
            catalog,
            told,
            provider=self._provider.name,
            customer_id=payer,
            known=known,
            created_at=rank.created_at,
            event_id=rank.event_id,
        )
        paid_until = await subscriptions.paid_until(conn, self._provider.name, told.id)
        record = replace(record, paid_until=paid_until)
        concerned = {payer} if known is None else {payer, known.customer_id}
        await self._write(conn, sorted(concerned), record, concerned, at)
        return concerned

    async def _hint(self, event: DueEvent, object_id: str) -> Hint:
        if (ours := looks.hint_of(event.type, object_id)) is not None:
            return ours
        if event.version == self._provider.version:
            return self._provider.hint(event.type, event.payload)
        if self._provider.reads:
            return await self._provider.hint_again(event.type, event.payload)
        raise OtherVersion(
            f"The event speaks version {event.version}, and {self._provider.version} is understood "
            "here. Set the endpoint to that version, or configure a key so that the object can be "
            "read again; then replay."
        )

    async def _told(
        self, subscription_id: str, hints: Sequence[Hint]
    ) -> ProviderSubscription | None:
        """Return the object as it is, or as its event tells where nothing can be read."""
        if not self._provider.reads:
            told = hints[0].told
            if told is not None and not told.whole:
                raise CutShort(
                    "The event holds only the first items of the subscription. Configure a key so "
                    "that the others can be read, then replay."
                )
            return told
        if not any(hint.subscription for hint in hints):
            return None
        told = await self._provider.subscription(subscription_id)
        if told.customer_key is None and not await self._payers.known(self._database, told):
            return replace(told, customer_key=await self._provider.customer_key(told.customer))
        return told

    async def _write(
        self,
        conn: Connection,
        customer_ids: Sequence[int],
        record: SubscriptionRecord,
        concerned: Collection[int],
        at: datetime,
    ) -> None:
        """Write the record inside a change of everybody whom it concerns, in order of their ids."""
        if not customer_ids:
            if len(concerned) > 1:  # their credits may move as well: all ledgers in one order
                await lock(conn, concerned)
            await subscriptions.upsert(conn, record, at)
            return

        async def others(on: Connection) -> None:
            await self._write(on, customer_ids[1:], record, concerned, at)

        await self._changes.change_on(conn, customer_ids[0], at, others)


def _concerns_one(error: BaseException | None) -> bool:
    """Tell whether ``error`` may be one event's own, so that the others should go on without it."""
    return isinstance(error, Exception) and not isinstance(error, LockLost | Unavailable)


def _rank_of(known: SubscriptionRecord | None) -> EventRank | None:
    if known is None or known.provider_created_at is None or known.provider_event_id is None:
        return None
    return rank_of(known.provider_created_at, known.status, known.provider_event_id)
