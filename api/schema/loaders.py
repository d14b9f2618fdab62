"""Loaders: what the fields of one request ask for in one turn is read in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from strawberry.dataloader import DataLoader

from api.catalog import overrides, subscriptions
from api.catalog.customers import Customer, Held
from api.catalog.overrides import OverrideRecord
from api.catalog.revisions import Revision
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.decision import WindowFigure
from api.domain.entitlements import Entitlements, entitle
from api.domain.errors import HeadroomError
from api.domain.windows import Window
from api.schema.services import Services


@dataclass(frozen=True, slots=True)
class Rights:
    """What one customer may do now, and the catalog by which that was judged."""

    held: Held
    revision: Revision
    entitlements: Entitlements


@dataclass(frozen=True, slots=True)
class UsageAsked:
    """One customer's use of one feature, by windows that end."""

    customer_id: int
    feature_id: int
    windows: tuple[Window, ...]


class Loaders:
    """The loaders of one request; nothing outlives it.

    Cost: one statement per loader and turn, however many fields ask; ``rights`` four; ``figures``
    one script call per customer, all of them in one write.
    """

    def __init__(self, services: Services, at: datetime) -> None:
        self._services = services
        self._at = at
        self.customers: DataLoader[int, Customer | None] = DataLoader(self._customers)
        self.customers_by_key: DataLoader[str, Customer | None] = DataLoader(self._by_key)
        self.rights: DataLoader[int, Rights | None] = DataLoader(self._rights)
        self.subscriptions: DataLoader[int, tuple[SubscriptionRecord, ...]] = DataLoader(
            self._subscriptions
        )
        self.overrides: DataLoader[int, tuple[OverrideRecord, ...]] = DataLoader(self._overrides)
        self.subscription: DataLoader[int, SubscriptionRecord | None] = DataLoader(
            self._subscription
        )
        self.figures: DataLoader[tuple[str, str], tuple[WindowFigure, ...] | None] = DataLoader(
            self._figures
        )
        self.usage: DataLoader[UsageAsked, list[int]] = DataLoader(self._usage)

    def forget(self) -> None:
        """Have everything read again, after a mutation changed something."""
        for loader in (
            self.customers,
            self.customers_by_key,
            self.rights,
            self.subscriptions,
            self.overrides,
            self.subscription,
            self.figures,
            self.usage,
        ):
            loader.clear_all()

    async def _customers(self, ids: list[int]) -> Sequence[Customer | None]:
        found = await self._services.customers.many(ids)
        return [found.get(i) for i in ids]

    async def _by_key(self, keys: list[str]) -> Sequence[Customer | None]:
        found = await self._services.customers.by_keys(keys)
        return [found.get(key) for key in keys]

    async def _rights(self, ids: list[int]) -> Sequence[Rights | None]:
        found = await self._services.customers.many_held(ids)
        revisions = {
            number: await self._services.revisions.get(number)
            for number in {held.customer.catalog_revision for held in found.values()}
        }

        def judged(held: Held | None) -> Rights | None:
            if held is None:
                return None
            revision = revisions[held.customer.catalog_revision]
            return Rights(held, revision, entitle(revision.catalog, held.facts, self._at))

        return [judged(found.get(i)) for i in ids]

    async def _subscriptions(self, ids: list[int]) -> Sequence[tuple[SubscriptionRecord, ...]]:
        found = await subscriptions.by_customers(self._services.database, ids)
        return [found[i] for i in ids]

    async def _overrides(self, ids: list[int]) -> Sequence[tuple[OverrideRecord, ...]]:
        found = await overrides.by_customers(self._services.database, ids)
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

    async def _usage(self, asked: list[UsageAsked]) -> Sequence[list[int]]:
        return await self._services.usage.histories(
            [(a.customer_id, a.feature_id, a.windows) for a in asked]
        )
