"""What the worker does by itself: turns, forgetting, sweeping, and going on after an outage."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from api.catalog import audit
from api.domain import keys
from api.domain.errors import Unavailable
from api.gates.outcome import Consumption
from api.infra.packing import pack
from api.infra.postgres import Database
from api.infra.settings import Settings
from api.metering.partitions import Partitions
from api.wiring import Core
from api.worker.loops import keep
from api.worker.retention import Retention
from api.worker.sweep import DriftSweep
from api.worker.turns import Turn, take_turns
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.waiting import eventually, until

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
calls.day = 100
"""


@pytest.fixture
async def core(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as built:
        yield built


async def test_a_task_is_begun_once_in_its_interval_whoever_asks(
    database: Database, clock: FakeClock
) -> None:
    begun: list[tuple[datetime, int]] = []

    async def task(at: datetime, position: int) -> int:
        begun.append((at, position))
        return position + 10

    turns = [Turn("tidy", timedelta(minutes=5), task)]
    await asyncio.gather(*(take_turns(database, clock, turns) for _ in range(4)))
    assert begun == [(clock.now(), 0)]
    clock.advance(minutes=4, seconds=59)
    assert await take_turns(database, clock, turns) == 0
    later = clock.advance(seconds=1)
    assert await take_turns(database, clock, turns) == 1
    assert begun[1:] == [(later, 10)]


async def test_a_task_that_did_not_end_is_begun_again_soon_and_one_at_work_is_left_to_it(
    database: Database, clock: FakeClock
) -> None:
    begun: list[datetime] = []
    gate = asyncio.Event()

    async def task(at: datetime, position: int) -> int | None:
        begun.append(at)
        if len(begun) == 1:
            return None
        await gate.wait()
        return position

    turns = [Turn("tidy", timedelta(days=1), task)]
    await take_turns(database, clock, turns)
    clock.advance(minutes=9)
    assert await take_turns(database, clock, turns) == 0
    clock.advance(minutes=1)
    working = asyncio.create_task(take_turns(database, clock, turns, beat_seconds=0.01))
    await until(lambda: len(begun) == 2)
    later = clock.advance(minutes=30)

    async def seen_at_work() -> bool:
        at: datetime = await database.fetchval("select alive_at from schedules")
        return at == later

    await eventually(seen_at_work)
    assert await take_turns(database, clock, turns) == 0
    gate.set()
    assert await working == 1
    clock.advance(hours=1)
    assert await take_turns(database, clock, turns) == 0
    assert len(begun) == 2


async def test_a_loop_outlives_an_outage_and_goes_on_at_once() -> None:
    steps: list[str] = []
    done = asyncio.Event()

    async def step() -> int:
        steps.append("step")
        if len(steps) < 3:
            raise Unavailable("not now")
        if len(steps) == 4:
            done.set()
        return 1 if len(steps) == 3 else 0

    loop = asyncio.create_task(keep("test", step, idle_seconds=3600))
    async with asyncio.timeout(30):
        await done.wait()
    loop.cancel()
    assert len(steps) == 4


async def test_what_is_past_its_time_is_forgotten_and_nothing_else(
    core: Core, clock: FakeClock
) -> None:
    outcome = await core.gate.consume("acme", "calls", 3, "first", ms(clock.now()))
    assert isinstance(outcome, Consumption)
    await core.drainer.drain([keys.shard_of("acme")])
    retention = Retention(core.database, Partitions(core.database), Settings())
    kept = await retention.forget(clock.now() + timedelta(days=29))
    assert not any(kept.values())
    late = await retention.forget(clock.now() + timedelta(days=2000))
    assert (late["months of usage events"], late["totals"], late["answers"]) == (1, 1, 1)
    assert late["audit"] == 0
    last = await retention.forget(clock.now() + timedelta(days=2556))
    assert last["audit"] > 0
    assert await core.database.fetchval("select count(*) from balances") == 1


async def test_a_counter_that_drifted_is_filled_again_and_told(
    core: Core, clock: FakeClock
) -> None:
    await core.gate.consume("acme", "calls", 5, None, ms(clock.now()))
    shard = keys.shard_of("acme")
    name = keys.counters(shard, "acme")
    feature = core.revisions.newest.feature_ids["calls"]
    counters = await core.drift.counters("acme")
    (slot,) = [slot for slot in counters if slot.startswith(f"{feature}:")]
    wrong = pack(counters[slot].end_s) + pack(2)
    await core.door.command("HSET", name, slot, wrong)
    sweep = DriftSweep(core)
    assert await sweep.turn(clock.now(), 0) == 0
    figures = await core.gate.figures("acme", ["calls"], ms(clock.now()))
    assert figures["calls"] is not None
    assert figures["calls"][0].used == 5
    (act,) = [act for act in await audit.list_(core.database) if act.action == "usage.repair"]
    assert act.detail["counters"] == [
        {"feature": feature, "window": "day", "counted": 2, "recorded": 5}
    ]
