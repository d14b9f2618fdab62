"""The counter store is replaced in the middle of a filling: the caller is answered all the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.domain.errors import Unavailable
from api.gates.outcome import Consumption
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.flaky_record import FlakyRecord, flaky_record
from tests.support.gate import ms, opened
from tests.support.scene import used
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
READS_POSITIONS = "from drain_positions"


@pytest.fixture
async def way(redis_url: str) -> AsyncIterator[FlakyWay]:
    async with flaky_way(redis_url) as opened_way:
        yield opened_way


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[FlakyRecord]:
    async with flaky_record(database_url) as opened_record:
        yield opened_record


@pytest.fixture
async def built(record: FlakyRecord, way: FlakyWay, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(record.url, way.url, clock, CATALOG) as core:
        yield core


async def reconnected(core: Core, way: FlakyWay, *, flushed: bool) -> None:
    """Return when the store is reached over another connection, ``flushed`` with nothing in it."""
    if flushed:
        await core.door.command("FLUSHALL")
    before = core.door.generation
    way.cut()
    way.down = False

    async def another() -> bool:
        try:
            await core.door.command("PING")
        except Unavailable:
            return False
        return core.door.generation > before

    await eventually(another)


@pytest.mark.parametrize("flushed", [False, True], ids=["another connection", "emptied"])
async def test_a_filling_that_is_cut_by_a_replaced_store_begins_anew(
    built: Core, record: FlakyRecord, way: FlakyWay, clock: FakeClock, *, flushed: bool
) -> None:
    at = ms(clock.now())
    async with record.pause(READS_POSITIONS) as reached:
        asked = [
            asyncio.create_task(built.gate.consume("acme", "calls", units, None, at))
            for units in (1, 2)
        ]
        await asyncio.wait_for(reached.wait(), 30)
        await reconnected(built, way, flushed=flushed)
    assert all([isinstance(await one, Consumption) for one in asked])
    assert await used(built, "calls", clock.now()) == [3]


async def test_a_store_that_is_replaced_in_every_filling_ends_in_a_refusal(
    built: Core, record: FlakyRecord, way: FlakyWay, clock: FakeClock
) -> None:
    asked = asyncio.create_task(
        built.gate.consume("acme", "calls", 1, None, ms(clock.now()), "test")
    )
    fillings = 0
    while not asked.done():
        async with record.pause(READS_POSITIONS) as reached:
            coming = asyncio.create_task(reached.wait())
            await asyncio.wait({coming, asked}, return_when=asyncio.FIRST_COMPLETED)
            if reached.is_set():
                fillings += 1
                await reconnected(built, way, flushed=True)
            coming.cancel()
    with pytest.raises(Unavailable, match="faster than they can be read"):
        await asked
    assert fillings > 1
    assert isinstance(
        await built.gate.consume("acme", "calls", 1, None, ms(clock.now())), Consumption
    )
