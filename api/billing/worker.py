"""What is done with an event: lock the object it is about, read the object, write what it is.

With a key to the provider the event is only a hint, and one reading serves all hints that had
come before it. Without one the state in the event stands for the object, and the newest wins by
``domain.event_order``. Either way the outcome is that of the object, whatever came in which order
and how often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from api.billing import invoices, looks
from api.billing.applying import Tools, Work
from api.billing.claims import Claim, Claims, DueEvent, LockLost
from api.billing.departures import DepartureEvents
from api.billing.payers import Payers
from api.billing.payment_events import PaymentEvents
from api.billing.problems import NotAtProvider, OtherVersion, Unapplicable, UnknownPayer
from api.billing.provider import Hint, Provider, ProviderInvoice
from api.billing.purchase_events import PurchaseEvents
from api.billing.shelf_events import ShelfEvents
from api.billing.subscription_events import SubscriptionEvents
from api.catalog.changes import Changes
from api.catalog.revisions import Revisions
from api.domain.errors import Unavailable
from api.infra.postgres import Database
from api.infra.telemetry import correlated, counter

log = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""Events of one process in hand. It asks for more when half are done, to take many at a time."""

MOST_LATER = 4
"""How many of them nobody waits for, so that what happens now finds the worker at leisure."""

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
        self._claims = Claims(database, provider.name)
        tools = Tools(database, provider, changes, revisions, self._claims, Payers(provider.name))
        self._subscriptions = SubscriptionEvents(tools)
        self._purchases = PurchaseEvents(tools)
        self._payments = PaymentEvents(tools)
        self._departures = DepartureEvents(tools)
        self._shelf = ShelfEvents(tools)
        self._in_hand: dict[asyncio.Task[None], tuple[Claim, datetime]] = {}
        self._failed: list[BaseException] = []

    async def run_once(self, at: datetime) -> int:
        """Handle a few events that are due; return how many. Raises: Unavailable.

        Events of different objects side by side, those of one object under its lock.
        """
        taken = await self.begin(at)
        try:
            if self._in_hand:
                await asyncio.wait(self._in_hand)
        except asyncio.CancelledError:
            await self.stop()
            raise
        self._raise_failed()
        return taken

    async def begin(self, at: datetime, more: Callable[[], None] = lambda: None) -> int:
        """Take up events that are due, beside those in hand, and return how many.

        Whoever is woken takes what there is room for, however little: readings that take long keep
        no other event waiting. ``more`` is called when there is room for many.
        Raises: Unavailable, also where what was taken up before met it.
        """
        self._raise_failed()
        room = MOST_AT_ONCE - len(self._in_hand)
        if room <= 0:
            return 0
        later = sum(claim.later for claim, _ in self._in_hand.values())
        claims = await self._claims.take(at, room, max(0, MOST_LATER - later))
        for claim in claims:
            task = asyncio.create_task(self._handle(claim, at))
            self._in_hand[task] = claim, at
            task.add_done_callback(lambda ended: self._ended(ended, more))
        return sum(len(claim.events) for claim in claims)

    async def stop(self) -> None:
        """Drop what is in hand, and give it back: another process need not wait for our locks."""
        held = dict(self._in_hand)
        for task in held:
            task.cancel()
        if held:
            await asyncio.wait(held)
        dropped = [on for task, on in held.items() if task.cancelled()]
        # Without a record to give it back to, it is due again when the locks have run out.
        with suppress(Unavailable):
            for claim, at in dropped:
                with suppress(LockLost):
                    await self._claims.abandon(claim, at)

    def _ended(self, task: asyncio.Task[None], more: Callable[[], None]) -> None:
        self._in_hand.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)
        if len(self._in_hand) * 2 <= MOST_AT_ONCE or self._failed:
            more()

    def _raise_failed(self) -> None:
        failed, self._failed = self._failed, []
        for error in failed:
            raise error

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
        work = Work(claim, events, hints, at)
        if any(hint.payment for hint in hints):
            await self._payments.apply(work)
        elif any(hint.purchase for hint in hints):
            await self._purchases.apply(work)
        elif any(hint.offer for hint in hints):
            await self._shelf.apply(work)
        elif any(hint.departed for hint in hints):
            await self._departures.apply(work)
        else:
            await self._subscriptions.apply(work)

    async def _looked(self, ours: Hint) -> Hint:
        """Return what a look points at, as the object says it."""
        if ours.invoice is not None:
            # It is locked, and written, by the subscription that it is for.
            invoice = await self._invoice(ours.invoice.id)
            return Hint(invoice.subscription, invoice.customer, None, invoice=invoice)
        if ours.customer is not None:
            key = await self._provider.customer_key(ours.customer)
            return Hint(None, ours.customer, key, introduces=key is not None)
        return ours

    async def _invoice(self, invoice_id: str) -> ProviderInvoice:
        """Return an invoice as it is; only a draft may be there no more."""
        try:
            return await self._provider.invoice(invoice_id)
        except NotAtProvider:
            gone = await invoices.deleted_draft(self._database, self._provider.name, invoice_id)
            if gone is None:
                raise
            return gone

    async def _hint(self, event: DueEvent, object_id: str) -> Hint:
        ours = looks.hint_of(event.type, looks.named_by(event.payload, object_id))
        if ours is not None:
            return await self._looked(ours) if self._provider.reads else ours
        if event.version == self._provider.version:
            return self._provider.hint(event.type, event.payload)
        if self._provider.reads:
            return await self._provider.hint_again(event.type, event.payload)
        raise OtherVersion(
            f"The event speaks version {event.version}, and {self._provider.version} is understood "
            "here. Set the endpoint to that version, or configure a key so that the object can be "
            "read again; then replay."
        )


def _concerns_one(error: BaseException | None) -> bool:
    """Tell whether ``error`` may be one event's own, so that the others should go on without it."""
    return isinstance(error, Exception) and not isinstance(error, LockLost | Unavailable)
