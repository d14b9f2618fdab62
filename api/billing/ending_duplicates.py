"""Ending a subscription that is one too many, by what the provider itself shows at that moment.

All that the customer has is read there and compared with the record. Where the two differ the
record follows first, and it is judged another time; where they agree and it is not clear which of
two is meant, a person decides. Only so many are ended an hour, whatever the record may show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from api.billing.account import Account
from api.billing.differences import difference
from api.billing.duplicates import LIVE, Extra, extras
from api.billing.findings import ForAPerson, NotYet, QueueKind, key_of, left_alone, look_at
from api.billing.listed_payers import ListedPayers
from api.billing.looks import Look
from api.billing.problems import NotAtProvider, UnknownPrice
from api.billing.provider import ProviderInvoice, ProviderSubscription
from api.billing.translation import record_of
from api.catalog import subscriptions
from api.catalog.alerts import window_of
from api.catalog.revisions import Revisions
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.event_order import TERMINAL
from api.infra.postgres import Database, Record
from api.infra.queries import Queries

_sql = Queries.load("reconciliation")

MOST_AN_HOUR = 5
"""How many are ended without a person. Customers seldom subscribe twice; many at once come of a
catalog that takes ``several_subscriptions`` away, or of customers that were moved."""
_AN_HOUR = timedelta(hours=1)


class EndingDuplicates:
    """Ends subscriptions of one provider that are one too many."""

    def __init__(
        self, database: Database, account: Account, revisions: Revisions, *, most_an_hour: int
    ) -> None:
        self._database = database
        self._account = account
        self._revisions = revisions
        self._payers = ListedPayers(database, account)
        self._most_an_hour = most_an_hour

    async def attempt(self, row: Record, at: datetime) -> str:
        """End what a finding names, and return how it was put right.

        Safe to repeat after a death anywhere: what became of it is read first.
        Raises: NotYet, ForAPerson, Unavailable. Cost: a call for each hundred subscriptions and
        for each hundred invoices of the customer, and two to end one.
        """
        name = row["object_id"]
        ours = await self._held(row["customer_id"])
        known = next((one for one in ours if one.provider_id == name), None)
        if known is None or known.status in TERMINAL:
            return "It has ended."
        found = next((one for one in await self._extras(row, ours, at) if _is(one, name)), None)
        if found is None:
            return "It is no duplicate any more."
        if not found.clear:
            raise ForAPerson(
                f"{name} ({_said(found.record)}) stands beside {found.kept.provider_id} "
                f"({_said(found.kept)}), and it is not clear which of them is meant: end one, or "
                "resolve the finding, which leaves both.",
                alert=f"{QueueKind.DUPLICATE_SUBSCRIPTION}.unclear",
                subject=name,
                period=at,
            )
        await self._expect_room(row, at)
        await self._account.end(name, f"headroom-duplicate-{key_of(row)}")
        told = await self._account.subscription(name)
        await look_at(self._database, self._account.name, Look.SUBSCRIPTION, [name], at)
        if told.status not in TERMINAL:
            raise NotYet(f"It is still {told.status.value} at the provider.")
        raise NotYet("It has ended at the provider; the record is about to follow.")

    async def _extras(
        self, row: Record, ours: list[SubscriptionRecord], at: datetime
    ) -> list[Extra]:
        """Judge by what the provider shows. Raises: NotYet, where the record shows otherwise."""
        told = await self._read(row["customer_id"], ours, at)
        catalog = (await self._revisions.current()).catalog
        kind = await self._database.fetchval(_sql.type_of, row["customer_id"])
        names = [one.provider_id for one in told]
        left = await left_alone(self._database, self._account.name, names)
        return extras(catalog, told, kind, at, left_alone=left)

    async def _held(self, customer_id: int) -> list[SubscriptionRecord]:
        held = await subscriptions.by_customer(self._database, customer_id)
        return [one for one in held if one.provider == self._account.name]

    async def _read(
        self, customer_id: int, ours: list[SubscriptionRecord], at: datetime
    ) -> list[SubscriptionRecord]:
        """Return the customer's subscriptions as the provider shows them, and the record too."""
        known = {one.provider_id: one for one in ours}
        live = {name for name, one in known.items() if one.status in LIVE}
        names = await self._payers.names(customer_id)
        told, odd = await self._listed(names)
        for missing in sorted(live - told.keys() - odd):
            try:
                told[missing] = await self._account.subscription(missing)
            except NotAtProvider:
                odd.add(missing)
        payers = await self._payers.of(list(told.values()))
        catalog = (await self._revisions.current()).catalog
        found: list[SubscriptionRecord] = []
        for name, one in told.items():
            held, payer = known.get(name), payers.get(name)
            if held is None and payer != customer_id:
                continue
            if one.status in TERMINAL and (held is None or held.status in TERMINAL):
                continue
            try:
                record = record_of(
                    catalog,
                    one,
                    provider=self._account.name,
                    customer_id=customer_id if payer is None else payer,
                    known=held,
                    created_at=at,
                    event_id="",
                )
            except UnknownPrice:
                odd.add(name)
                continue
            if difference(record, held) is not None:
                odd.add(name)
            found.append(record)
        await self._expect_none(Look.SUBSCRIPTION, odd, at)
        paid = await self._paid(names, found)
        await self._expect_paid(found, known, paid, at)
        return [replace(one, paid_until=paid.get(one.provider_id, (None, ""))[0]) for one in found]

    async def _listed(
        self, names: Iterable[str]
    ) -> tuple[dict[str, ProviderSubscription], set[str]]:
        """Return what the provider lists, and the live ones of it that cannot be told here."""
        told: dict[str, ProviderSubscription] = {}
        odd: set[str] = set()
        over = {status.value for status in TERMINAL}
        for name in names:
            async for page in self._account.subscriptions(name):
                for one in page:
                    if one.told is not None:
                        told[one.id] = one.told
                    elif one.status not in over:
                        odd.add(one.id)
        return told, odd

    async def _paid(
        self, names: Iterable[str], found: Iterable[SubscriptionRecord]
    ) -> dict[str, tuple[datetime, str]]:
        """Return until when each is paid for, and by which invoice."""
        paid: dict[str, tuple[datetime, str]] = {}
        ours = {one.provider_id for one in found}
        for name in names:
            async for page in self._account.invoices(None, name):
                for one in page:
                    if not isinstance(one, ProviderInvoice) or one.subscription not in ours:
                        continue
                    if one.paid_until is not None:
                        so_far = paid.get(one.subscription)
                        mine = (one.paid_until, one.id)
                        paid[one.subscription] = mine if so_far is None else max(so_far, mine)
        return paid

    async def _expect_paid(
        self,
        found: Iterable[SubscriptionRecord],
        known: dict[str, SubscriptionRecord],
        paid: dict[str, tuple[datetime, str]],
        at: datetime,
    ) -> None:
        late: set[str] = set()
        for one in found:
            so_far = known.get(one.provider_id)
            ours = None if so_far is None else so_far.paid_until
            told = paid.get(one.provider_id)
            if one.status in LIVE and told is not None and (ours is None or ours < told[0]):
                late.add(told[1])
        await self._expect_none(Look.INVOICE, late, at)

    async def _expect_none(self, kind: Look, names: set[str], at: datetime) -> None:
        if names:
            await look_at(self._database, self._account.name, kind, sorted(names), at)
            said = ", ".join(sorted(names))[:300]
            raise NotYet(f"The record shows otherwise than the provider: {said}; read again first.")

    async def _expect_room(self, row: Record, at: datetime) -> None:
        """Count this one among those of the hour. Raises: ForAPerson."""
        async with self._database.transaction() as conn:
            await conn.execute(_sql.one_ends_at_a_time, self._account.name)
            may = await conn.fetchval(
                _sql.may_end, self._account.name, row["id"], at, at - _AN_HOUR, self._most_an_hour
            )
        if may is None:
            raise ForAPerson(
                f"{self._most_an_hour} duplicate subscriptions were ended within an hour, so the "
                "others are left as they are. Look whether the catalog or a customer's type was "
                "changed; then `headroom reconciliation list --state given_up` shows them, and "
                "`headroom reconciliation retry ID --reason …` ends one.",
                alert=f"{QueueKind.DUPLICATE_SUBSCRIPTION}.held",
                subject="",
                period=window_of(at, _AN_HOUR),
            )


def _is(extra: Extra, name: str) -> bool:
    return extra.record.provider_id == name


def _said(record: SubscriptionRecord) -> str:
    return f"{record.plan}, {record.status.value}"
