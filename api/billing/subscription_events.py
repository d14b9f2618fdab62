"""Events of subscriptions and of what pays for them: the subscription is written as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from api.billing import invoices
from api.billing.applying import Tools, Work
from api.billing.claims import DueEvent
from api.billing.invoices import Mirror
from api.billing.problems import CutShort, NotAtProvider
from api.billing.provider import Hint, ProviderInvoice, ProviderSubscription
from api.billing.translation import lines_of, record_of
from api.catalog import subscription_changes, subscriptions
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import Catalog
from api.domain.event_order import EventRank, rank_of, supersedes
from api.infra.postgres import Connection
from api.ledger.entries import lock


class SubscriptionEvents:
    """Writes subscriptions."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._mirror = Mirror(tools.provider.name, reads=tools.provider.reads)

    async def apply(self, work: Work) -> None:
        """Write a subscription as it is, and what its invoices paid for."""
        claim, events, hints, at = work.claim, work.events, work.hints, work.at
        told = await self._told(claim.object_id, hints)
        billed = await self._invoices(hints)
        paid = [i.paid_until for i in billed if i.paid_until is not None and i.subscription]
        paid_until = max(paid, default=None)
        newest = max(events, key=lambda event: (event.created_at, event.event_id))
        catalog = (await self._tools.revisions.current()).catalog
        changed: set[int] = set()
        async with self._tools.database.transaction() as conn:
            await self._tools.claims.confirm(conn, claim)
            if paid_until is not None:
                await subscriptions.note_paid(
                    conn, self._tools.provider.name, claim.object_id, paid_until
                )
            introducing = [hint for hint in hints if hint.introduces]
            payers = [await self._tools.payers.introduce(conn, hint, at) for hint in introducing]
            if told is not None:
                payers.append(await self._tools.payers.payer_of(conn, told, at))
                changed = await self._take_over(conn, told, events, (catalog, payers[-1].id), at)
            whom = payers[-1].id if payers else await self._tools.payers.billed(conn, hints)
            if told is None and paid_until is not None:
                changed = await self._pay(conn, claim.object_id, paid_until, at)
            for invoice in billed:
                await self._mirror.put(conn, invoice, whom, newest, at)
            await self._tools.payers.rouse(conn, payers, work.ids, at)
            await work.done(conn, whom)
        for customer_id in sorted(changed):
            await self._tools.changes.tell(customer_id, at)

    async def _invoices(self, hints: Sequence[Hint]) -> list[ProviderInvoice]:
        """Return the invoices as they are, or as their event tells."""
        provider = self._tools.provider
        found: list[ProviderInvoice] = []
        for told in {h.invoice.id: h.invoice for h in hints if h.invoice}.values():
            invoice = await self._read(told) if provider.reads else told
            if not invoice.whole:
                raise CutShort(
                    "The event holds only the first lines of the invoice. Configure a key so that "
                    "the others can be read, then replay."
                )
            found.append(invoice)
        return found

    async def _read(self, told: ProviderInvoice) -> ProviderInvoice:
        """Return an invoice as it is; a draft that cannot be read any more was deleted."""
        state = told.state
        if state is not None and state.status == invoices.DELETED:
            return told
        try:
            return await self._tools.provider.invoice(told.id)
        except NotAtProvider:
            if state is None or state.status != invoices.DRAFT:
                raise
            return replace(told, state=replace(state, status=invoices.DELETED))

    async def _pay(
        self, conn: Connection, subscription_id: str, until: datetime, at: datetime
    ) -> set[int]:
        """Write until when a subscription is paid for, where it is known already."""
        provider = self._tools.provider.name
        known = await subscriptions.find(conn, provider, subscription_id)
        if known is None or (known.paid_until is not None and known.paid_until >= until):
            return set()

        async def pay(on: Connection) -> None:
            await subscriptions.set_paid(on, provider, subscription_id, until, at)

        await self._tools.changes.change_on(conn, known.customer_id, at, pay)
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
        known = await subscriptions.find(conn, self._tools.provider.name, told.id)
        newest = max(events, key=lambda event: (event.created_at, event.event_id))
        rank = rank_of(newest.created_at, told.status, newest.event_id)
        standing = _rank_of(known)
        if not self._tools.provider.reads and not supersedes(rank, standing):
            return set()
        if standing is not None:
            rank = max(rank, standing)
        record = record_of(
            catalog,
            told,
            provider=self._tools.provider.name,
            customer_id=payer,
            known=known,
            created_at=rank.created_at,
            event_id=rank.event_id,
        )
        paid_until = await subscriptions.paid_until(conn, self._tools.provider.name, told.id)
        record = replace(record, paid_until=paid_until)
        concerned = {payer} if known is None else {payer, known.customer_id}
        await self._write(conn, sorted(concerned), record, concerned, at)
        lines = lines_of(told)
        await subscription_changes.note(conn, record, lines, newest.event_id, rank.created_at)
        return concerned

    async def _told(
        self, subscription_id: str, hints: Sequence[Hint]
    ) -> ProviderSubscription | None:
        """Return the object as it is, or as its event tells where nothing can be read."""
        provider = self._tools.provider
        if not provider.reads:
            told = hints[0].told
            if told is not None and not told.whole:
                raise CutShort(
                    "The event holds only the first items of the subscription. Configure a key so "
                    "that the others can be read, then replay."
                )
            return told
        if not any(hint.subscription for hint in hints):
            return None
        told = await self._tools.provider.subscription(subscription_id)
        if told.customer_key is None and not await self._tools.payers.known(
            self._tools.database, told
        ):
            return replace(
                told, customer_key=await self._tools.provider.customer_key(told.customer)
            )
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

        await self._tools.changes.change_on(conn, customer_ids[0], at, others)


def _rank_of(known: SubscriptionRecord | None) -> EventRank | None:
    if known is None or known.provider_created_at is None or known.provider_event_id is None:
        return None
    return rank_of(known.provider_created_at, known.status, known.provider_event_id)
