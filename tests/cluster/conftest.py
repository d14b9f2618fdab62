"""Installations on the cluster, whatever the other tests run on."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from api.infra.redis import RedisDoor
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.cluster import ThrowawayCluster
from tests.support.gate import opened
from tests.support.judging import open_door

CATALOG = """
product = "cluster"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.posts]
name = "Posts"
kind = "metered"
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = 200
posts.day = 40
seats = 40
"""
CUSTOMERS = tuple(f"c{number}" for number in range(12))
OpenCore = Callable[[], AbstractAsyncContextManager[Core]]


@pytest.fixture
async def door(cluster: ThrowawayCluster) -> AsyncIterator[RedisDoor]:
    opened_door = await open_door(cluster.url)
    yield opened_door
    await opened_door.close()


@pytest.fixture
def open_core(cluster: ThrowawayCluster, database_url: str, clock: FakeClock) -> OpenCore:
    """Return what opens one more installation on the same engines, with a map of its own."""

    @asynccontextmanager
    async def another() -> AsyncGenerator[Core]:
        async with opened(database_url, cluster.url, clock, CATALOG, CUSTOMERS) as core:
            yield core

    return another


@pytest.fixture
async def built(open_core: OpenCore) -> AsyncIterator[Core]:
    async with open_core() as core:
        yield core
