"""A catalog store on real engines, and what the counter store was told by it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from api.catalog.changes import Changes
from api.catalog.customers import Customer, CustomerInput, Customers
from api.catalog.publisher import Publisher
from api.catalog.revisions import Revision, Revisions
from api.domain import keys
from api.domain.catalog import Catalog, WindowKind
from api.domain.windows import Window
from api.infra.packing import unpack
from api.infra.postgres import Database
from api.infra.redis import RedisDoor
from api.metering.epochs import Epochs
from tests.support import builders


@dataclass
class Store:
    """Everything that reads or changes what customers hold."""

    database: Database
    door: RedisDoor
    revisions: Revisions
    customers: Customers
    publisher: Publisher
    changes: Changes

    async def apply(self, catalog: Catalog, at: datetime) -> Revision:
        return await self.revisions.apply(catalog, "tester", "a test", at)

    async def customer(self, key: str, at: datetime, **given: str) -> Customer:
        return await self.changes.upsert_customer(CustomerInput(key, **given), at, "tester")

    async def pins(self, customer_id: int) -> Mapping[tuple[str, WindowKind], Window]:
        return (await self.customers.many_facts([customer_id]))[customer_id].pins or {}

    async def row(self, customer_id: int) -> Any:  # noqa: ANN401 - a row has columns of all types
        return await self.database.fetchrow("select * from customers where id = $1", customer_id)

    async def snapshot(self, key: str) -> dict[str, bytes]:
        """Return the fields of the snapshot as they lie in the counter store."""
        flat = await self.door.command("HGETALL", keys.snapshot(keys.shard_of(key), key))
        names = [name.decode() for name in flat[::2]]
        return dict(zip(names, flat[1::2], strict=True))

    async def told_version(self, key: str) -> int | None:
        """Return the version of the snapshot in the counter store, None where there is none."""
        fields = await self.snapshot(key)
        return unpack(fields["x"])[5] if fields else None


@asynccontextmanager
async def store_on(database: Database, redis_url: str) -> AsyncIterator[Store]:
    epochs = Epochs(database)
    door = await RedisDoor(redis_url, register=epochs.register, reopen=epochs.reopen).open()
    try:
        revisions = Revisions(database)
        publisher = Publisher(database, revisions, door)
        changes = Changes(database, revisions, publisher)
        yield Store(database, door, revisions, Customers(database, revisions), publisher, changes)
    finally:
        await door.close()


@pytest.fixture
async def empty_store(database: Database, redis_url: str) -> AsyncIterator[Store]:
    """Return a store to which no catalog was applied."""
    async with store_on(database, redis_url) as store:
        yield store


@pytest.fixture
async def store(empty_store: Store) -> Store:
    """Return a store in which ``builders.catalog()`` is sold."""
    await empty_store.apply(builders.catalog(), builders.CREATED)
    return empty_store
