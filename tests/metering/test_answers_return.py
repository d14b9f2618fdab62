"""A counter store that lost its answers gets all of them back before a named call is judged."""

from collections.abc import AsyncIterator

import pytest

from api.gates.outcome import ConsumeRequest, Consumption
from api.metering.hydration import ANSWERS_A_PASS
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.notes]
name = "Notes"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = 100000
notes = "unlimited"
"""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def recorded(core: Core) -> int:
    while await core.drainer.drain(range(256)):
        pass
    return int(await core.database.fetchval("select sum(units) from usage_totals"))


async def test_every_unexpired_answer_comes_back_however_many_there_are(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    names = [f"k{n}" for n in range(2 * ANSWERS_A_PASS + 50)]

    async def all_at(instant: int) -> list[bool]:
        replayed = []
        for start in range(0, len(names), 100):
            asked = [ConsumeRequest("acme", "calls", 1, n) for n in names[start : start + 100]]
            for outcome in await built.gate.consume_each(asked, instant + start):
                assert isinstance(outcome, Consumption)
                replayed.append(outcome.replayed)
        return replayed

    assert not any(await all_at(at))
    assert await recorded(built) == len(names)
    await built.door.command("FLUSHALL")
    assert all(await all_at(at + 60_000))
    assert await recorded(built) == len(names)


async def test_a_named_call_without_any_limit_waits_while_the_answers_come_back(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "notes", 3, "k", at)
    assert await recorded(built) == 3
    await built.door.command("FLUSHALL")
    await built.gate.check("acme", "notes", 1, at)
    # Another process has begun to fill and has not installed yet.
    while await built.hydration.begin("acme") is None:
        pass
    again = await built.gate.consume("acme", "notes", 3, "k", at)
    assert isinstance(again, Consumption)
    assert again.replayed
    assert await recorded(built) == 3
