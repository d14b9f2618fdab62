"""Who pays for a provider's subscription or pack: which of the product's customers.

The subscription's own word comes first, then what a checkout said of the provider's customer,
then whoever holds the subscription already. Who is told of a customer too early waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.billing import invoices
from api.billing.problems import LinkConflict, UnknownPayer
from api.billing.provider import Hint, ProviderPurchase, ProviderSubscription
from api.catalog import customers
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries

_sql = Queries.load("billing")


@dataclass(frozen=True, slots=True)
class Payer:
    """One of the product's customers; ``introduced`` is a provider's name for it, heard first."""

    id: int
    introduced: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Customers' ids: by the product's name, by the provider's, by what is held already."""

    named: int | None
    linked: int | None
    holding: int | None

    @property
    def any(self) -> int | None:
        return next((i for i in (self.named, self.linked, self.holding) if i is not None), None)


class Payers:
    """Finds and notes who pays for one provider's subscriptions."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    async def introduce(self, conn: Connection, hint: Hint, at: datetime) -> Payer:
        """Note whom the provider's customer stands for. Raises: UnknownPayer, LinkConflict."""
        found = await self._find(conn, hint.customer, hint.customer_key, "")
        if found.named is None:
            raise self._unknown_name(hint.customer_key, hint.customer)
        if found.linked == found.named:
            return Payer(found.named)
        return await self._link(conn, str(hint.customer), found.named, at)

    async def payer_of(self, conn: Connection, told: ProviderSubscription, at: datetime) -> Payer:
        """Return who pays for the subscription. Raises: UnknownPayer."""
        found = await self._find(conn, told.customer, told.customer_key, told.id)
        if told.customer_key is not None and found.named is None:
            raise self._unknown_name(told.customer_key, told.customer)
        payer = found.any
        if payer is None:
            raise UnknownPayer(
                f"Nobody is known to be {told.customer}: a completed checkout with a client "
                "reference, or metadata.headroom_customer on the subscription or the customer, "
                "says who it is. Set it, then replay.",
                waits_for=told.customer,
            )
        if found.linked is None:
            return await self._link(conn, told.customer, payer, at)
        return Payer(payer)

    async def buyer_of(self, conn: Connection, told: ProviderPurchase, at: datetime) -> Payer:
        """Return who bought a pack. Raises: UnknownPayer, LinkConflict."""
        if told.customer is not None and told.customer_key is not None:
            return await self.introduce(conn, Hint(None, told.customer, told.customer_key), at)
        found = await self._find(conn, told.customer, told.customer_key, "")
        if told.customer_key is not None and found.named is None:
            raise self._unknown_name(told.customer_key, told.customer)
        if found.any is None:
            raise UnknownPayer(
                f"Nobody is known to have paid for the checkout {told.id}: its client reference, "
                "metadata.headroom_customer on it or on the provider's customer says who it is. "
                "Set it, then replay.",
                waits_for=told.customer,
            )
        return Payer(found.any)

    async def known(
        self, database: Database, told: ProviderSubscription | ProviderPurchase
    ) -> bool:
        """Tell whether the payer can be found without asking the provider."""
        found = await self._find(database, told.customer, told.customer_key, told.id)
        return found.any is not None

    async def billed(self, conn: Connection, hints: Sequence[Hint]) -> int | None:
        """Return whose the invoices of these hints are; what is nobody's waits for its link.

        A link that comes meanwhile is seen, or sees what is written here: it takes the same locks.
        """
        names = sorted({hint.customer for hint in hints if hint.customer is not None})
        whom = await self._linked(conn, names)
        if whom is None:
            for name in names:
                await conn.execute(_sql.lock_name, self._provider, name)
            whom = await self._linked(conn, names)
        return whom

    async def rouse(
        self, conn: Connection, payers: Sequence[Payer], but: Sequence[int], at: datetime
    ) -> None:
        """Have events tried again that waited to hear who these are.

        After everything else is written: whoever writes an event's row holds its customer's.
        """
        for name in sorted({payer.introduced for payer in payers if payer.introduced}):
            await conn.execute(_sql.rouse, self._provider, name, at, list(but))

    async def _find(
        self,
        source: Connection | Database,
        customer: str | None,
        key: str | None,
        subscription: str,
    ) -> _Found:
        row = await source.fetchrow(_sql.payer, self._provider, customer, key, subscription)
        if row is None:
            raise AssertionError("a select without a from always answers")
        return _Found(row["named"], row["linked"], row["holding"])

    async def _linked(self, conn: Connection, names: Sequence[str]) -> int | None:
        found = [await conn.fetchval(_sql.linked, self._provider, name) for name in names]
        return next((customer_id for customer_id in found if customer_id is not None), None)

    async def _link(self, conn: Connection, name: str, customer_id: int, at: datetime) -> Payer:
        # Whoever fails for want of this link keeps its failure under the same lock, so it is
        # either roused by the link or sees it.
        await conn.execute(_sql.lock_name, self._provider, name)
        await customers.link(conn, self._provider, name, customer_id, at)
        await invoices.adopt(conn, self._provider, name, customer_id)
        linked = await conn.fetchval(_sql.linked, self._provider, name)
        if linked != customer_id:
            raise LinkConflict(
                f"{name} is another customer here already. Correct the client reference or the "
                "metadata at the provider, then replay."
            )
        return Payer(customer_id, introduced=name)

    def _unknown_name(self, key: str | None, name: str | None) -> UnknownPayer:
        return UnknownPayer(
            f"There is no customer {(key or '')[:200]!r}, whom the provider names for {name}. "
            "Create it, then replay."
        )
