"""Keys and their settling around an outage of the counters: each counts once."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api.catalog.customers import CustomerInput
from api.domain.errors import IdempotencyConflict, Unavailable
from api.gates.outcome import Consumption, Denied
from api.metering.blind import Blind, BlindItem, Passed
from api.metering.partitions import Partitions
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.gate import ms, opened
from tests.support.waiting import eventually

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.lenient]
name = "Lenient"
kind = "metered"
outage = "open"

[features.careful]
name = "Careful"
kind = "metered"
outage = { bounded = 3 }

[plans.free]
name = "Free"
[plans.free.features]
lenient.day = 10
careful.day = 10
"""


@pytest.fixture
async def way(redis_url: str) -> AsyncIterator[FlakyWay]:
    async with flaky_way(redis_url) as opened_way:
        yield opened_way


@pytest.fixture
async def built(database_url: str, way: FlakyWay, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, way.url, clock, CATALOG) as core:
        yield core


async def answers(core: Core) -> bool:
    try:
        await core.door.command("PING")
    except Unavailable:
        return False
    return True


async def lost(core: Core, way: FlakyWay) -> None:
    """Cut the way to the counters, and return when that was noticed."""
    way.cut()

    async def noticed() -> bool:
        return not await answers(core)

    await eventually(noticed)


async def restored(core: Core, way: FlakyWay) -> None:
    way.down = False
    await eventually(lambda: answers(core))


async def used(core: Core, feature: str, at: int) -> int:
    windows = (await core.gate.figures("acme", [feature], at))[feature]
    assert windows is not None
    return windows[0].used


async def recorded(core: Core) -> int:
    await core.drainer.drain(range(256))
    units = await core.database.fetchval("select sum(units) from usage_totals")
    return int(units or 0)


async def consumed(core: Core, feature: str, units: int, key: str | None, at: int) -> Consumption:
    outcome = await core.gate.consume("acme", feature, units, key, at)
    assert not isinstance(outcome, Denied)
    return outcome


@pytest.mark.parametrize("feature", ["lenient", "careful"])
async def test_a_retry_during_an_outage_of_what_was_counted_before_it_counts_nothing(
    built: Core, way: FlakyWay, clock: FakeClock, feature: str
) -> None:
    at = ms(clock.now())
    first = await consumed(built, feature, 3, "k", at)
    await built.drainer.drain(range(256))
    await lost(built, way)
    again = await consumed(built, feature, 3, "k", at + 500)
    assert (again.id, again.replayed, again.degraded) == (first.id, True, True)
    assert again.windows == first.windows
    with pytest.raises(IdempotencyConflict):
        await built.gate.consume("acme", feature, 2, "k", at + 600)
    # What was replayed takes nothing of what may pass meanwhile.
    assert not (await consumed(built, feature, 3, "new", at + 700)).replayed
    await restored(built, way)
    await built.outage.settle()
    assert await used(built, feature, at + 1000) == 6
    assert await recorded(built) == 6


async def test_a_retry_during_an_outage_of_what_was_not_recorded_yet_is_settled_as_nothing(
    built: Core, way: FlakyWay, clock: FakeClock
) -> None:
    at = ms(clock.now())
    first = await consumed(built, "lenient", 3, "k", at)
    await lost(built, way)
    await consumed(built, "lenient", 3, "k", at + 500)
    await consumed(built, "lenient", 2, "new", at + 600)
    await restored(built, way)
    assert await built.outage.settle() == 1
    assert await built.outage.settle() == 0
    assert await used(built, "lenient", at + 1000) == 5
    again = await consumed(built, "lenient", 3, "k", at + 1000)
    assert (again.id, again.replayed) == (first.id, True)
    assert await recorded(built) == 5


async def test_a_key_of_an_earlier_outage_counts_again_after_its_replay_period(
    built: Core, way: FlakyWay, clock: FakeClock
) -> None:
    at = ms(clock.now())
    assert await used(built, "lenient", at) == 0
    await lost(built, way)
    await consumed(built, "lenient", 3, "k", at)
    await restored(built, way)
    await built.outage.settle()
    later = ms(clock.advance(days=60))
    await lost(built, way)
    assert not (await consumed(built, "lenient", 3, "k", later)).replayed
    assert (await consumed(built, "lenient", 3, "k", later + 500)).replayed
    await restored(built, way)
    await built.outage.settle()
    assert await used(built, "lenient", later) == 3
    assert await recorded(built) == 6


async def test_a_settling_ends_only_what_was_recorded_before_its_own_forgetting(
    built: Core, clock: FakeClock
) -> None:
    at = clock.now()
    number = await built.holders.number("acme")
    feature = built.revisions.newest.feature_ids["lenient"]
    blind = Blind(built.database, Partitions(built.database))
    expires = at + timedelta(days=1)

    async def admit(name: str) -> None:
        items = [BlindItem(feature, 1, None)]
        assert await blind.admit(number, name, items, at, "c", expires) == Passed(at)

    await admit("a")
    by_one = await blind.record(number)
    await admit("b")
    by_another = await blind.record(number)
    await blind.settled(number, by_one)
    assert await blind.unsettled() == [number]
    # What one recorded and did not end, another ends.
    assert sorted(by_another) == ["a", "b"]
    await blind.settled(number, by_another)
    assert await blind.unsettled() == []
    assert await recorded(built) == 2


async def test_a_key_that_passed_blind_and_was_counted_elsewhere_meanwhile_counts_once(
    built: Core, way: FlakyWay, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    assert await built.gate.figures("acme", ["lenient"], ms(clock.now()))
    way.cut()
    await built.gate.consume("acme", "lenient", 4, "k", ms(clock.now()))
    clock.advance(seconds=1)
    async with opened(database_url, redis_url, clock, CATALOG) as other:
        # Another process was never cut off, and its counters have not heard of the key.
        await other.gate.consume("acme", "lenient", 4, "k", ms(clock.now()))
        await Blind(other.database, Partitions(other.database)).record(1)
        await other.drainer.drain(range(256))
        assert await other.database.fetchval("select sum(units) from usage_events") == 4
        await other.hydration.forget("acme")
        figures = await other.gate.figures("acme", ["lenient"], ms(clock.now()))
        assert [w.used for w in figures["lenient"] or ()] == [4]


async def test_one_settling_is_enough_for_every_shard(
    built: Core, way: FlakyWay, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.changes.upsert_customer(CustomerInput("globex"), clock.now(), "test")
    await lost(built, way)
    for customer in ("acme", "globex"):
        await built.gate.consume(customer, "lenient", 4, None, at)
    await restored(built, way)
    await built.outage.catch_up("acme")
    assert not built.outage.owed


async def test_a_settling_goes_on_to_the_last_customer(
    built: Core, way: FlakyWay, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.metering.blind.MOST_CUSTOMERS", 2)
    names = ["acme", *(f"c{number}" for number in range(4))]
    for name in names[1:]:
        await built.changes.upsert_customer(CustomerInput(name), clock.now(), "test")
    await lost(built, way)
    for name in names:
        await built.gate.consume(name, "lenient", 4, None, ms(clock.now()))
    await restored(built, way)
    assert await built.outage.settle() == 5


async def test_what_passed_blind_can_be_released_as_soon_as_the_counters_are_back(
    built: Core, way: FlakyWay, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await lost(built, way)
    taken = await consumed(built, "lenient", 4, "k", at)
    await restored(built, way)
    await built.releases.release("acme", "lenient", 3, taken.id, "r", at)
    assert await used(built, "lenient", at) == 1
    assert await recorded(built) == 1
