"""One address that leads to two servers: what waits at the one cuts nothing of the other's."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis import Redis

from api.domain import keys
from api.domain.errors import Unavailable
from api.wiring import Core
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.gate import ms, opened
from tests.support.waiting import eventually

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = 10
"""
JOURNAL = keys.journal(keys.shard_of("acme"))


@pytest.fixture
async def way(redis_url: str) -> AsyncIterator[FlakyWay]:
    async with flaky_way(redis_url) as opened_way:
        yield opened_way


@pytest.fixture
async def parted(
    engines_factory: EnginesFactory,
    database_url: str,
    way: FlakyWay,
    redis_url: str,
    clock: FakeClock,
) -> AsyncIterator[Core]:
    """Open a core that counts at the second server, and whose drainer waits at the first still."""
    second = (await engines_factory()).redis_url
    async with opened(database_url, way.url, clock, CATALOG) as core:
        await core.gate.consume("acme", "calls", 1, None, ms(clock.now()))
        assert await core.drainer.follow(wait_ms=200) == 1
        before = core.door.generation
        way.lead_to(second)
        with Redis.from_url(redis_url) as first:
            for client in first.client_list():
                if client["cmd"] not in {"xread", "client|list"}:
                    first.client_kill_filter(_id=client["id"])
        await eventually(lambda: another(core, before))
        await core.gate.consume("acme", "calls", 1, None, ms(clock.now()))
        with Redis.from_url(second) as redis:
            assert redis.xlen(JOURNAL)
        yield core


async def another(core: Core, before: int) -> bool:
    """Tell whether the counters are reached over another connection than ``before``."""
    with suppress(Unavailable):
        await core.door.command("PING")
    return core.door.up and core.door.generation > before


async def recorded(core: Core) -> int:
    return int(await core.database.fetchval("select sum(units) from usage_events"))


async def test_an_entry_at_the_server_that_was_left_cuts_nothing_unrecorded(
    parted: Core, redis_url: str
) -> None:
    with Redis.from_url(redis_url) as first:
        first.xadd(JOURNAL, {"b": "of somebody who still reaches it"})
    await parted.drainer.follow(wait_ms=200)
    await parted.drainer.drain(range(keys.SHARDS))
    assert await recorded(parted) == 2


async def test_who_waits_at_a_server_that_was_left_still_drains_the_other(parted: Core) -> None:
    await parted.drainer.follow(wait_ms=10)
    assert await recorded(parted) == 2
