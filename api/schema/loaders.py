"""Loaders: what the fields of one request ask for in one turn is read in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from strawberry.dataloader import DataLoader

from api.billing.operations import Operation
from api.catalog import overrides, subscriptions
from api.catalog.customers import Customer, Entitled
from api.catalog.overrides import OverrideRecord
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.decision import WindowFigure
from api.domain.errors import HeadroomError
from api.domain.windows import Window
from api.ledger import standing
from api.ledger.standing import Balance
from api.schema.services import Services


@dataclass(frozen=True, slots=True)
class UsageAsked:
    """One customer's use of one feature, by windows that end."""

    customer_id: int
    feature_id: int
    windows: tuple[Window, ...]


class Loaders:
    """The loaders of one request; nothing outlives it.

    Cost: one statement per loader and turn, however many fields ask; ``rights`` four, none where
    they were read of late; ``figures`` one script call per customer, all of them in one write.
    """

    def __init__(self, services: Services, at: datetime) -> None:
        self._services = services
        self._at = at
        self._versions: dict[int, int] = {}

    @cached_property
    def customers(self) -> DataLoader[int, Customer | None]:
        """Customers by number."""
        return DataLoader(self._customers)

    @cached_property
    def customers_by_key(self) -> DataLoader[str, Customer | None]:
        """Customers by key."""
        return DataLoader(self._by_key)

    @cached_property
    def rights(self) -> DataLoader[int, Entitled | None]:
        """What customers may do now, by their numbers."""
        return DataLoader(self._rights)

    @cached_property
    def subscriptions(self) -> DataLoader[int, tuple[SubscriptionRecord, ...]]:
        """Every subscription of a customer, by its number."""
        return DataLoader(self._subscriptions)

    @cached_property
    def overrides(self) -> DataLoader[int, tuple[OverrideRecord, ...]]:
        """Every override of a customer, by its number."""
        return DataLoader(self._overrides)

    @cached_property
    def pending_operations(self) -> DataLoader[int, list[Operation]]:
        """Actions at the payment provider that a customer waits for, by its number."""
        return DataLoader(self._pending_operations)

    @cached_property
    def subscription(self) -> DataLoader[int, SubscriptionRecord | None]:
        """Subscriptions by number."""
        return DataLoader(self._subscription)

    @cached_property
    def figures(self) -> DataLoader[tuple[str, str], tuple[WindowFigure, ...] | None]:
        """Windows as they stand, by customer and feature; None where it is not granted."""
        return DataLoader(self._figures)

    @cached_property
    def credits(self) -> DataLoader[tuple[int, datetime | None], Balance]:
        """Balances by customer, now (None) or at an instant, which costs a statement each."""
        return DataLoader(self._credits)

    @cached_property
    def usage(self) -> DataLoader[UsageAsked, list[int]]:
        """Units per window."""
        return DataLoader(self._usage)

    def forget(self) -> None:
        """Have everything read again, after a mutation changed something."""
        for made in [name for name, one in vars(self).items() if isinstance(one, DataLoader)]:
            delattr(self, made)
        self._versions.clear()

    async def _customers(self, ids: list[int]) -> Sequence[Customer | None]:
        found = await self._services.customers.many(ids)
        self._versions.update((one.id, one.version) for one in found.values())
        return [found.get(i) for i in ids]

    async def _by_key(self, keys: list[str]) -> Sequence[Customer | None]:
        found = await self._services.customers.by_keys(keys)
        self._versions.update((one.id, one.version) for one in found.values())
        return [found.get(key) for key in keys]

    async def _rights(self, ids: list[int]) -> Sequence[Entitled | None]:
        customers, versions = self._services.customers, self._versions
        if versions.keys() >= set(ids):
            # Their rows were read by this request, so it is known how new what they hold must be.
            found = await customers.entitled_by({i: versions[i] for i in ids}, self._at)
        else:
            found = await customers.entitled(ids, self._at)
        return [found.get(i) for i in ids]

    async def _subscriptions(self, ids: list[int]) -> Sequence[tuple[SubscriptionRecord, ...]]:
        found = await subscriptions.by_customers(self._services.database, ids)
        return [found[i] for i in ids]

    async def _overrides(self, ids: list[int]) -> Sequence[tuple[OverrideRecord, ...]]:
        found = await overrides.by_customers(self._services.database, ids)
        return [found[i] for i in ids]

    async def _pending_operations(self, ids: list[int]) -> Sequence[list[Operation]]:
        found = await self._services.billing.operations.pending_of(ids)
        return [found[i] for i in ids]

    async def _subscription(self, ids: list[int]) -> Sequence[SubscriptionRecord | None]:
        found = await subscriptions.many(self._services.database, ids)
        return [found.get(i) for i in ids]

    async def _figures(
        self, asked: list[tuple[str, str]]
    ) -> Sequence[tuple[WindowFigure, ...] | BaseException | None]:
        features: dict[str, list[str]] = {}
        for customer, feature in asked:
            features.setdefault(customer, []).append(feature)
        found = await asyncio.gather(
            *(self._figures_of(customer, wanted) for customer, wanted in features.items())
        )
        by_customer = dict(zip(features, found, strict=True))

        def figures(customer: str, feature: str) -> tuple[WindowFigure, ...] | BaseException | None:
            of_customer = by_customer[customer]
            return of_customer if isinstance(of_customer, HeadroomError) else of_customer[feature]

        return [figures(customer, feature) for customer, feature in asked]

    async def _figures_of(
        self, customer: str, features: Sequence[str]
    ) -> dict[str, tuple[WindowFigure, ...] | None] | HeadroomError:
        at_ms = int(self._at.timestamp() * 1000)
        try:
            return await self._services.gate.figures(customer, features, at_ms)
        except HeadroomError as error:
            return error  # that of one customer is not that of the others

    async def _credits(self, asked: list[tuple[int, datetime | None]]) -> Sequence[Balance]:
        database = self._services.database
        now = [number for number, at in asked if at is None]
        found = await standing.balances(database, now, self._at) if now else {}
        return [
            found[number] if at is None else await standing.balance_at(database, number, at)
            for number, at in asked
        ]

    async def _usage(self, asked: list[UsageAsked]) -> Sequence[list[int]]:
        return await self._services.usage.histories(
            [(a.customer_id, a.feature_id, a.windows) for a in asked]
        )
