"""What was recorded and not cut is cut later, or it would seem to wait for a drainer."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from api.domain import keys
from api.domain.errors import Unavailable
from api.metering.drainer import CUT
from api.wiring import Core
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
SHARD = keys.shard_of("acme")


@pytest.fixture
async def way(redis_url: str) -> AsyncIterator[FlakyWay]:
    async with flaky_way(redis_url) as opened_way:
        yield opened_way


async def recorded_and_not_cut(core: Core, way: FlakyWay, clock: FakeClock) -> None:
    """Have one unit in the record and, as the connection ended then, in the journal still."""
    await core.gate.consume("acme", "calls", 1, None, ms(clock.now()))
    way.lose_requests(1, CUT.sha.encode())
    assert await core.drainer.drain([SHARD]) == 1
    await eventually(lambda: waiting(core))
    assert await waiting(core) == 1


async def waiting(core: Core) -> int:
    """Return how many entries the journal has; 0 while nobody can tell."""
    with suppress(Unavailable):
        return int(await core.door.command("XLEN", keys.journal(SHARD)))
    return 0


async def followed(core: Core) -> None:
    """Follow until a pass comes to its end."""
    while True:
        with suppress(Unavailable):
            assert await core.drainer.follow(wait_ms=10) == 0
            return


async def test_who_could_not_cut_cuts_in_the_next_pass(
    database_url: str, way: FlakyWay, clock: FakeClock
) -> None:
    async with opened(database_url, way.url, clock, CATALOG) as core:
        await recorded_and_not_cut(core, way, clock)
        await followed(core)
        assert await core.door.command("XLEN", keys.journal(SHARD)) == 0


async def test_what_a_process_left_uncut_when_it_ended_another_cuts(
    database_url: str, way: FlakyWay, clock: FakeClock
) -> None:
    async with opened(database_url, way.url, clock, CATALOG) as core:
        await recorded_and_not_cut(core, way, clock)
    async with opened(database_url, way.url, clock, CATALOG) as core:
        await followed(core)
        assert await core.door.command("XLEN", keys.journal(SHARD)) == 0
