"""What those who decide must know of a customer: its number, its rights, its snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from api.catalog.changes import Changes
from api.catalog.customers import Customers
from api.domain.entitlements import Entitlement
from api.domain.snapshot import Snapshot, build

MOST_REMEMBERED = 100_000


class Holders:
    """Customers by their keys, as decisions see them. Every method may raise ``Unavailable``."""

    def __init__(self, customers: Customers, changes: Changes) -> None:
        self._customers = customers
        self._changes = changes
        self._numbers: dict[str, int] = {}

    async def number(self, customer: str) -> int:
        """Return the number of the customer; it never changes, so it is remembered.

        Raises: UnknownCustomer.
        """
        known = self._numbers.get(customer)
        if known is None:
            known = (await self._customers.get(customer)).id
            if len(self._numbers) >= MOST_REMEMBERED:
                self._numbers.clear()
            self._numbers[customer] = known
        return known

    async def keys_of(self, customer_ids: Sequence[int]) -> Mapping[int, str]:
        """Return the keys of those that exist."""
        return {i: c.key for i, c in (await self._customers.many(customer_ids)).items()}

    async def publish_key(self, customer: str, at: datetime) -> Snapshot:
        """Publish the customer's rights, and return the snapshot that says so.

        Raises: UnknownCustomer.
        """
        return await self._changes.publish(await self.number(customer), at)

    async def snapshot(self, customer: str, at: datetime) -> Snapshot:
        """Build the customer's snapshot from the record alone. Raises: UnknownCustomer."""
        number = await self.number(customer)
        entitled = (await self._customers.entitled([number], at))[number]
        return build(entitled.held.facts, entitled.entitlements, entitled.revision.feature_ids, at)

    async def entitled(self, customer: str, at: datetime) -> tuple[int, Mapping[str, Entitlement]]:
        """Return the customer's number and what it may do, by the record alone.

        Raises: UnknownCustomer.
        """
        number = await self.number(customer)
        found = (await self._customers.entitled([number], at))[number]
        return number, found.entitlements.features
