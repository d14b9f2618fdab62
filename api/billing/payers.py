"""Who pays for a provider's subscription: which of the product's customers.

The subscription's own word comes first, then what a checkout said of the provider's customer,
then whoever holds the subscription already. Who is told of a customer too early waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from api.billing.problems import LinkConflict, UnknownPayer
from api.billing.provider import Hint, ProviderSubscription
from api.catalog import customers
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries

_sql = Queries.load("billing")


class Payers:
    """Finds and notes who pays for one provider's subscriptions."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    async def introduce(self, conn: Connection, hint: Hint, at: datetime) -> int:
        """Note whom the provider's customer stands for; return that customer's id.

        Raises: UnknownPayer, LinkConflict.
        """
        found = await conn.fetchrow(
            _sql.payer, self._provider, hint.customer, hint.customer_key, ""
        )
        named = None if found is None else found["named"]
        if named is None:
            raise self._unknown_name(hint.customer_key, hint.customer)
        return await self._link(conn, str(hint.customer), named, at)

    async def payer_of(self, conn: Connection, told: ProviderSubscription, at: datetime) -> int:
        """Return the id of the customer who holds the subscription. Raises: UnknownPayer."""
        found = await conn.fetchrow(
            _sql.payer, self._provider, told.customer, told.customer_key, told.id
        )
        if found is None:
            raise AssertionError("a select without a from always answers")
        if told.customer_key is not None and found["named"] is None:
            raise self._unknown_name(told.customer_key, told.customer)
        payer = found["named"] or found["linked"] or found["holding"]
        if payer is None:
            raise UnknownPayer(
                f"Nobody is known to be {told.customer}: a completed checkout with a client "
                "reference, or metadata.headroom_customer on the subscription or the customer, "
                "says who it is. Set it, then replay.",
                waits_for=told.customer,
            )
        if found["linked"] is None:
            await self._link(conn, told.customer, payer, at)
        return int(payer)

    async def known(self, database: Database, told: ProviderSubscription) -> bool:
        """Tell whether the payer can be found without asking the provider."""
        found = await database.fetchrow(
            _sql.payer, self._provider, told.customer, told.customer_key, told.id
        )
        return found is not None and any(v is not None for v in found.values())

    async def rouse(
        self,
        conn: Connection,
        hints: Sequence[Hint],
        told: ProviderSubscription | None,
        at: datetime,
        but: Sequence[int],
    ) -> None:
        """Have events tried again that waited to hear who these customers are."""
        names = {hint.customer for hint in hints if hint.introduces}
        names |= {told.customer} if told is not None else set()
        for name in sorted(name for name in names if name is not None):
            await conn.execute(_sql.rouse, self._provider, name, at, list(but))

    async def _link(self, conn: Connection, name: str, customer_id: int, at: datetime) -> int:
        # Whoever fails for want of this link keeps its failure under the same lock, so it is
        # either roused by the link or sees it.
        await conn.execute(_sql.lock_name, self._provider, name)
        await customers.link(conn, self._provider, name, customer_id, at)
        linked = await conn.fetchval(_sql.linked, self._provider, name)
        if linked != customer_id:
            raise LinkConflict(
                f"{name} is another customer here already. Correct the client reference or the "
                "metadata at the provider, then replay."
            )
        return customer_id

    def _unknown_name(self, key: str | None, name: str | None) -> UnknownPayer:
        return UnknownPayer(
            f"There is no customer {(key or '')[:200]!r}, whom the provider names for {name}. "
            "Create it, then replay."
        )
