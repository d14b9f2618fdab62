"""Comparing the record with what the provider holds, and having what differs read anew.

Nothing is written here as the provider told it in a list: a difference leaves a look, and what that
reads under the object's lock is what is written. So two passes at once, or one beside events, come
to the same, and one that dies is simply begun again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.billing.account import Account, Listed, Odd
from api.billing.differences import Difference, Kind, difference
from api.billing.double_invoices import find_double_invoices
from api.billing.findings import Finding, QueueKind, enqueue
from api.billing.listed_files import by_status
from api.billing.listed_payers import ListedPayers
from api.billing.looks import Look, look, parked
from api.billing.money_comparison import MoneyComparison
from api.billing.money_facts import add_up, items_unlike, told_money
from api.billing.problems import UnknownPrice
from api.billing.same_account import SameAccount
from api.billing.translation import record_of
from api.catalog import audit, subscription_changes, subscriptions
from api.catalog.revisions import Revisions
from api.catalog.subscription_changes import Money
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import MAX_UNITS, Catalog
from api.domain.errors import HeadroomError, InvalidInput
from api.domain.event_order import TERMINAL
from api.infra.postgres import Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("reconciliation")

MOST_SHOWN = 1_000
PURCHASES_BACK = timedelta(days=30)
NOT_LINKED = "not_linked"
"""Counted where the provider is not known to have a customer of that name."""
KEEP_PAYMENTS = timedelta(days=90)
_IN_A_BATCH = 500
_A_DAY = timedelta(days=1)

Progress = Callable[[int, int], None]
"""Told how many were compared, and how many of them differ."""


@dataclass(slots=True)
class Report:
    """What one pass found; of the differences the first ``MOST_SHOWN`` are kept."""

    run_id: int
    execute: bool
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def differing(self) -> int:
        """How many subscriptions differ, or cannot be read, as some of the money."""
        return sum(self.counts[kind.value] for kind in Kind)

    def note(self, found: Difference) -> None:
        """Count a difference, and keep it if there is room."""
        self.counts[found.kind.value] += 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(found)

    def odd(self, one: Odd) -> None:
        """Count and keep what cannot be told in our words."""
        self.note(Difference(Kind.UNREADABLE, one.id, None, (("problem", "", one.problem),)))


@dataclass(frozen=True, slots=True)
class Asked:
    """Which pass: of one customer or of all, from the provider's list or another."""

    customer_id: int | None = None
    execute: bool = False
    listed: AsyncIterator[list[Listed]] | None = None
    purchases_back: timedelta = PURCHASES_BACK


class Reconciliation:
    """Passes over one provider's subscriptions, and over what was paid.

    ``keep_payments``: for how long is known here what was said of payments that bought no pack.
    """

    def __init__(
        self,
        database: Database,
        account: Account,
        revisions: Revisions,
        *,
        keep_payments: timedelta = KEEP_PAYMENTS,
    ) -> None:
        self._database = database
        self._account = account
        self._revisions = revisions
        self.account = SameAccount(database, account)
        self._payers = ListedPayers(database, account)
        self._keep_payments = keep_payments

    async def run(
        self,
        asked: Asked,
        *,
        actor: str,
        reason: str,
        at: datetime,
        progress: Progress | None = None,
    ) -> Report:
        """Compare, and where it is to ``execute`` leave looks and findings for what differs.

        Raises: InvalidInput without a key, OtherAccount, Unavailable, Throttled. Memory: a page,
        and what the report shows. Cost: a call for each hundred subscriptions, with four
        statements, and for each hundred invoices, refunds, disputes and checkouts, with one.
        """
        if not self._account.reads:
            raise InvalidInput("Nothing can be compared without a key: set STRIPE_SECRET_KEY.")
        report = Report(await self._begin(asked, actor, reason, at), asked.execute)
        error: str | None = "It was cut off before its end."
        try:
            await self.account.require(at)
            catalog = (await self._revisions.current()).catalog
            names = await self._names(report, asked)
            async for page in self._pages(asked, names):
                await self._compare(report, catalog, page, at)
                if progress is not None:
                    progress(report.counts["compared"], report.differing)
            await self._only_here(report, asked.customer_id, at)
            if asked.listed is None:
                await self._compare_money(report, asked, names, at)
            if asked.execute and asked.customer_id is None:
                doubles = await find_double_invoices(self._database, self._account.name, at)
                report.counts["double_invoices"] += doubles
            error = None
        except HeadroomError as raised:
            error = raised.message
            raise
        finally:
            await self._database.execute(
                _sql.end_run, report.run_id, at, dict(report.counts), error
            )
            await self._database.execute(_sql.forget_seen, report.run_id, at - _A_DAY)
        return report

    async def _compare_money(
        self, report: Report, asked: Asked, names: Sequence[str], at: datetime
    ) -> None:
        """Compare what was paid; after the subscriptions, which say whose invoices are ours."""
        money = MoneyComparison(
            self._database,
            self._account,
            report.run_id,
            report.counts,
            report.odd,
            execute=asked.execute,
        )
        if asked.customer_id is None:
            since = at - asked.purchases_back
            await money.purchases(since, at)
            # A day less: what is compared must not be forgotten meanwhile.
            await money.money_back(since, at - self._keep_payments + _A_DAY, at)
            await money.invoices(since, None, at)
            return
        for name in names:
            await money.invoices(None, name, at)

    async def runs(self, first: int = 20, before: int | None = None) -> list[Record]:
        """Return the latest passes, or those before one, newest first."""
        return await self._database.fetch(_sql.runs, MAX_UNITS if before is None else before, first)

    async def _begin(self, asked: Asked, actor: str, reason: str, at: datetime) -> int:
        scope = "all" if asked.customer_id is None else "customer"
        async with self._database.transaction() as conn:
            run_id: int = await conn.fetchval(
                _sql.begin_run,
                self._account.name,
                scope,
                asked.execute,
                at,
                actor,
                reason,
                correlation_id(),
            )
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="reconciliation.run",
                reason=reason,
                customer_id=asked.customer_id,
                detail={"run": run_id, "scope": scope, "execute": asked.execute},
                correlation_id=correlation_id(),
            )
        return run_id

    async def _names(self, report: Report, asked: Asked) -> list[str]:
        """Return how the provider calls the one customer whom the pass is about."""
        if asked.customer_id is None:
            return []
        names = await self._payers.names(asked.customer_id)
        if not names:
            report.counts[NOT_LINKED] = 1
        return names

    async def _pages(self, asked: Asked, names: Sequence[str]) -> AsyncIterator[list[Listed]]:
        if asked.listed is not None:
            async for page in asked.listed:
                yield page
        elif asked.customer_id is None:
            async with aclosing(self._account.subscriptions()) as pages:
                async for page in pages:
                    yield page
        else:
            for name in names:
                async with aclosing(self._account.subscriptions(name)) as pages:
                    async for page in pages:
                        yield page

    async def _compare(
        self, report: Report, catalog: Catalog, page: Sequence[Listed], at: datetime
    ) -> None:
        ids = [one.id for one in page]
        provider = self._account.name
        known = await subscriptions.named(self._database, provider, ids)
        money = await subscription_changes.last_of(self._database, provider, ids)
        payers = await self._payers.of([one.told for one in page if one.told is not None])
        await self._database.execute(_sql.note_seen, report.run_id, ids)
        found: list[Difference] = []
        for one in page:
            report.counts["compared"] += 1
            report.counts[f"provider:{one.status}"] += 1
            ours = known.get(one.id)
            if ours is not None:
                report.counts[f"here:{ours.status.value}"] += 1
            differs = self._judge(report, catalog, one, (ours, money.get(one.id)), payers, at)
            if differs is not None:
                found.append(differs)
        await self._act(report, found, at)

    def _judge(
        self,
        report: Report,
        catalog: Catalog,
        one: Listed,
        held: tuple[SubscriptionRecord | None, Money | None],
        payers: dict[str, int],
        at: datetime,
    ) -> Difference | None:
        told, (ours, kept) = one.told, held
        customer_id = None if ours is None else ours.customer_id
        if told is None:
            if one.problem is not None:
                return Difference(
                    Kind.UNREADABLE, one.id, customer_id, (("problem", "", one.problem),)
                )
            return by_status(one, ours)
        payer = payers.get(told.id, customer_id)
        if payer is None:
            if told.status in TERMINAL:
                return None
            said = (("customer", "", told.customer), ("status", "", told.status.value))
            return Difference(Kind.UNKNOWN, told.id, None, said)
        try:
            record = record_of(
                catalog,
                told,
                provider=self._account.name,
                customer_id=payer,
                known=ours,
                created_at=at,
                event_id="",
            )
        except UnknownPrice as error:
            return Difference(Kind.UNREADABLE, told.id, payer, (("problem", "", error.message),))
        money = told_money(told, kept)
        for side, one_side, comes_to in (("provider", record, money), ("here", ours, kept)):
            if one_side is not None and one_side.status not in TERMINAL:
                add_up(report.counts, side, one_side, comes_to)
        return difference(record, ours, items_unlike(told, money, kept))

    async def _only_here(self, report: Report, customer_id: int | None, at: datetime) -> None:
        after = 0
        while True:
            rows = await self._database.fetch(
                _sql.only_here,
                self._account.name,
                after,
                at,
                customer_id,
                report.run_id,
                _IN_A_BATCH,
            )
            if not rows:
                return
            after = rows[-1]["id"]
            gone = [
                Difference(
                    Kind.GONE,
                    row["provider_id"],
                    row["customer_id"],
                    (("status", row["status"], ""),),
                )
                for row in rows
            ]
            await self._act(report, gone, at)

    async def _act(self, report: Report, found: Sequence[Difference], at: datetime) -> None:
        for one in found:
            report.note(one)
        if not report.execute or not found:
            return
        provider = self._account.name
        async with self._database.transaction() as conn:
            gone = [one.subscription_id for one in found if one.kind is Kind.GONE]
            seen = await parked(conn, provider, Look.SUBSCRIPTION, gone)
            ids = [one.subscription_id for one in found if one.healable]
            ids = [name for name in ids if name not in seen]
            await look(conn, provider, Look.SUBSCRIPTION, ids, at)
            for one in found:
                if one.kind is Kind.UNKNOWN:
                    detail = {name: said for name, _, said in one.fields}
                    finding = Finding(
                        QueueKind.UNKNOWN_SUBSCRIPTION, one.subscription_id, None, detail
                    )
                    await enqueue(conn, provider, finding, at)
