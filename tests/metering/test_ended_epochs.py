"""An epoch that ended keeps only its own shard's callers, and is renewed once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.domain import keys
from api.metering.drainer import CountersReplaced
from api.metering.epochs import Epochs
from api.metering.journal import entry_id
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky_record import FlakyRecord, flaky_record
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
SHARD, OTHER = keys.shard_of("acme"), keys.shard_of("globex")
RENEWS = "run_id = $3"


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[FlakyRecord]:
    async with flaky_record(database_url) as opened_record:
        yield opened_record


@pytest.fixture
async def built(record: FlakyRecord, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(record.url, redis_url, clock, CATALOG, ("acme", "globex")) as core:
        yield core


async def counted(core: Core, clock: FakeClock, customer: str) -> tuple[int, list[list[bytes]]]:
    """Count a unit; return the shard's epoch and what its journal holds."""
    await core.gate.consume(customer, "calls", 1, None, ms(clock.now()))
    shard = keys.shard_of(customer)
    rows = await core.door.command("XRANGE", keys.journal(shard), "-", "+")
    return core.door.epoch(shard), rows


async def test_who_has_another_shard_recorded_does_not_wait_for_a_renewal(
    built: Core, record: FlakyRecord, clock: FakeClock
) -> None:
    epoch, rows = await counted(built, clock, "acme")
    other_epoch, other_rows = await counted(built, clock, "globex")
    epochs, found = {SHARD: epoch, OTHER: other_epoch}, {SHARD: rows, OTHER: other_rows}
    await Epochs(built.database).register("a replica", [SHARD])
    async with record.pause(RENEWS) as reached, asyncio.timeout(20):
        assert await built.drainer.record(epochs, found) == 1
        await reached.wait()
        assert built.door.epoch(SHARD) == epoch

    async def renewed() -> bool:
        return await built.door.standing_epoch(SHARD) > epoch

    await eventually(renewed)


async def test_an_epoch_that_somebody_renewed_is_not_renewed_again(
    built: Core, clock: FakeClock
) -> None:
    epoch, rows = await counted(built, clock, "acme")
    renewed = await built.door.renew_epoch(SHARD)
    assert await built.drainer.record({SHARD: epoch}, {SHARD: rows}) == 0
    await built.drainer.drain([SHARD])
    assert built.door.epoch(SHARD) == renewed


async def test_a_mark_under_an_epoch_that_ended_is_not_passed_however_far_the_record_was(
    built: Core, clock: FakeClock
) -> None:
    epoch, rows = await counted(built, clock, "acme")
    mark = entry_id(rows[-1][0])
    await built.drainer.reach(SHARD, epoch, mark)
    await built.door.renew_epoch(SHARD)
    with pytest.raises(CountersReplaced):
        await built.drainer.reach(SHARD, epoch, mark)
