"""Whose the provider's customers are, as far as its lists and the record tell."""

from __future__ import annotations

from collections.abc import Sequence

from api.billing.account import Account
from api.billing.problems import KeyLacksRight, NotAtProvider, Unreadable
from api.billing.provider import ProviderSubscription
from api.domain.event_order import TERMINAL
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("reconciliation")


class ListedPayers:
    """Customers of the record beside customers of one provider."""

    def __init__(self, database: Database, account: Account) -> None:
        self._database = database
        self._account = account

    async def names(self, customer_id: int) -> list[str]:
        """Return how the provider calls a customer: by our links, and by what it was told.

        The provider may learn of what it was told a moment later, so nothing found says nothing.
        Cost: two statements and a call.
        """
        provider = self._account.name
        links = await self._database.fetch(_sql.links_of, provider, customer_id)
        key = await self._database.fetchval(_sql.key_of, customer_id)
        try:
            found = await self._account.customers_of(key)
        except (Unreadable, NotAtProvider, KeyLacksRight):  # not every account can be searched
            found = []
        return list(dict.fromkeys([*(link["provider_id"] for link in links), *found]))

    async def of(self, told: Sequence[ProviderSubscription]) -> dict[str, int]:
        """Return who pays for each, as the inbox would say."""
        links = await self._database.fetch(
            _sql.payers, self._account.name, [one.customer for one in told]
        )
        keys = [one.customer_key for one in told if one.customer_key is not None]
        named = {row["key"]: row["id"] for row in await self._database.fetch(_sql.named, keys)}
        linked = {row["provider_id"]: row["customer_id"] for row in links}
        found: dict[str, int] = {}
        for one in told:
            payer = linked.get(one.customer)
            if one.customer_key is not None:
                payer = named.get(one.customer_key)
            elif payer is None and one.status not in TERMINAL:
                payer = await self._introduced(one.customer)
            if payer is not None:
                found[one.id] = payer
        return found

    async def _introduced(self, customer: str) -> int | None:
        try:
            key = await self._account.customer_key(customer)
        except (Unreadable, NotAtProvider):  # whoever it is cannot be told
            return None
        rows = [] if key is None else await self._database.fetch(_sql.named, [key])
        return rows[0]["id"] if rows else None
