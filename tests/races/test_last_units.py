"""Many callers in several processes for the last units: exactly as many pass as there are."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api.gates.outcome import Consumption
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

CATALOG = """
product = "race"

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
calls = { day = 137, month = 200 }
posts.month = 37
seats = 41
"""
PROCESSES = 4
CALLERS = 250


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def racing(*arguments: object) -> Counter[str]:
    """Let every process loose at once; return how all calls ended."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.racer",
            *map(str, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    total: Counter[str] = Counter()
    try:
        for process in started:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(p.communicate(b"go\n") for p in started))
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for output, _ in outputs:
        total.update(json.loads(output))
    return total


async def figures(core: Core, feature: str, at: int) -> list[int]:
    windows = (await core.gate.figures("acme", [feature], at))[feature]
    assert windows is not None
    return [w.used for w in windows]


@pytest.mark.parametrize(("feature", "units"), [("calls", 137), ("posts", 37), ("seats", 41)])
async def test_a_thousand_callers_share_exactly_the_units_there_are(
    built: Core,
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    feature: str,
    units: int,
) -> None:
    at = ms(clock.now())
    ended = await racing(database_url, redis_url, "acme", feature, 1, CALLERS, 0, at)
    assert ended == {"allowed": units, "denied": PROCESSES * CALLERS - units}
    assert set(await figures(built, feature, at)) == {units}
    await built.drainer.drain(range(256))
    assert await built.database.fetchval("select sum(units) from usage_events") == units


async def test_retries_in_parallel_from_several_processes_count_once_per_key(
    built: Core, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    ended = await racing(database_url, redis_url, "acme", "calls", 2, CALLERS, 10, at)
    assert ended == {"allowed": 10, "replayed": PROCESSES * CALLERS - 10}
    assert await figures(built, "calls", at) == [20, 20]


async def test_denied_calls_count_nothing_for_whoever_asks_for_less_afterwards(
    built: Core, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    ended = await racing(database_url, redis_url, "acme", "calls", 138, CALLERS, 0, at)
    assert ended == {"denied": PROCESSES * CALLERS}
    assert isinstance(await built.gate.consume("acme", "calls", 137, None, at), Consumption)
