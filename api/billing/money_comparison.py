"""Comparing what was paid: purchases of packs, refunds and disputes, invoices.

What differs is left to be read anew, as everything that a pass finds. What cannot be understood
is told, and the rest is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TypeVar

from api.billing.account import Account, Odd
from api.billing.findings import Finding, QueueKind, enqueue
from api.billing.invoices import DRAFT
from api.billing.looks import Look, look
from api.billing.provider import ProviderInvoice
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("reconciliation")

_IN_A_BATCH = 500

_Told = TypeVar("_Told")


class MoneyComparison:
    """One pass's look at the provider's money; it adds to the pass's ``counts``."""

    def __init__(
        self,
        database: Database,
        account: Account,
        run_id: int,
        counts: Counter[str],
        odd: Callable[[Odd], None],
        *,
        execute: bool,
    ) -> None:
        self._database = database
        self._account = account
        self._run_id = run_id
        self._counts = counts
        self._odd = odd
        self._execute = execute

    async def purchases(self, since: datetime, at: datetime) -> None:
        """Have paid checkouts read whose credits were never given."""
        provider = self._account.name
        async with aclosing(self._account.paid_checkouts(since)) as pages:
            async for listed in pages:
                page = self._understood(listed)
                rows = await self._database.fetch(_sql.not_granted, provider, page)
                lacking = [row["id"] for row in rows]
                self._counts["purchases"] += len(page)
                self._counts["missing_credits"] += len(lacking)
                if not self._execute or not lacking:
                    continue
                async with self._database.transaction() as conn:
                    await look(conn, provider, Look.CHECKOUT, lacking, at)
                    for checkout in lacking:
                        finding = Finding(QueueKind.MISSING_CREDITS, checkout, None)
                        await enqueue(conn, provider, finding, at)

    async def money_back(self, since: datetime, kept_since: datetime, at: datetime) -> None:
        """Have payments read of which refunds or disputes are not known as they stand.

        What was begun before ``kept_since`` is still known here only of what bought a pack.
        """
        if since < kept_since:
            await self._money_back(since, kept_since, at, packs_only=True)
        await self._money_back(max(since, kept_since), None, at, packs_only=False)

    async def _money_back(
        self, since: datetime, until: datetime | None, at: datetime, *, packs_only: bool
    ) -> None:
        async with aclosing(self._account.money_back(since, until)) as pages:
            async for listed in pages:
                page = self._understood(listed)
                if not page:
                    continue
                said = [(name, f.object_id, f.amount_minor, f.stands) for name, f in page]
                columns = (list(column) for column in zip(*said, strict=True))
                rows = await self._database.fetch(
                    _sql.payments_unlike, self._account.name, *columns, packs_only
                )
                self._counts["payments_differing"] += len(rows)
                await self._look(Look.PAYMENT, [row["payment_id"] for row in rows], at)

    async def invoices(self, since: datetime | None, customer: str | None, at: datetime) -> None:
        """Have invoices read that are lacking or not as they were, or whose payment is not known.

        Those of nobody whom we know are left alone, as their subscriptions are.
        """
        async with aclosing(self._account.invoices(since, customer)) as pages:
            async for listed in pages:
                page = self._understood(listed)
                if not page:
                    continue
                columns = (list(column) for column in zip(*map(_compared, page), strict=True))
                rows = await self._database.fetch(
                    _sql.invoices_unlike, self._account.name, *columns
                )
                self._counts["invoices"] += len(page)
                self._counts["invoices_differing"] += len(rows)
                await self._look(Look.INVOICE, [row["id"] for row in rows], at)
                drafts = [one.id for one in page if one.state and one.state.status == DRAFT]
                await self._database.execute(_sql.note_seen, self._run_id, drafts)
        await self._drafts_only_here(since, customer, at)

    async def _drafts_only_here(
        self, since: datetime | None, customer: str | None, at: datetime
    ) -> None:
        """Have drafts read that the list did not have: nothing else of an invoice is deleted."""
        after, provider = 0, self._account.name
        while rows := await self._database.fetch(
            _sql.drafts_only_here, provider, after, at, since, customer, self._run_id, _IN_A_BATCH
        ):
            after = rows[-1]["id"]
            self._counts["invoices_differing"] += len(rows)
            await self._look(Look.INVOICE, [row["provider_id"] for row in rows], at)

    def _understood(self, listed: Sequence[_Told | Odd]) -> list[_Told]:
        """Return what of a page can be compared, and tell of the rest."""
        found: list[_Told] = []
        for one in listed:
            if isinstance(one, Odd):
                self._odd(one)
            else:
                found.append(one)
        return found

    async def _look(self, kind: Look, names: Sequence[str], at: datetime) -> None:
        if self._execute and names:
            async with self._database.transaction() as conn:
                await look(conn, self._account.name, kind, names, at)


def _compared(told: ProviderInvoice) -> tuple[object, ...]:
    state = told.state
    if state is None:
        raise AssertionError("an invoice of a list says how it stands")
    return (
        told.id,
        told.subscription,
        told.customer,
        told.customer_key,
        told.paid_until,
        state.status,
        state.number,
        state.total_minor,
        state.due_minor,
        state.paid_minor,
        state.remaining_minor,
        state.attempts,
        state.next_attempt_at,
    )
