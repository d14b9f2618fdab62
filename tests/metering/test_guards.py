"""The races and losses that the decision is guarded against; each test fails without its guard."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.catalog.customers import CustomerInput
from api.domain import keys
from api.domain.errors import Unavailable
from api.gates.outcome import ConsumeRequest, Consumption, Denied
from api.metering.journal import entry_id
from api.wiring import Core, core
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.flaky import flaky_way
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.posts]
name = "Posts"
kind = "metered"
durability = "journaled"

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
calls.day = 10
posts.day = 10
lenient.day = 10
careful.day = 10
"""
SHARD = keys.shard_of("acme")


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def used(core: Core, feature: str, at: int) -> int:
    windows = (await core.gate.figures("acme", [feature], at))[feature]
    assert windows is not None
    return windows[0].used


async def reconnected(core: Core) -> None:
    """Ask until the counter store answers again."""
    async with asyncio.timeout(30):
        while True:
            try:
                await core.door.command("PING")
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def recorded(core: Core, feature: str) -> int:
    units = await core.database.fetchval(
        "select sum(t.units) from usage_totals t join features f on f.id = t.feature_id"
        " where f.key = $1",
        feature,
    )
    return int(units or 0)


async def test_a_counter_store_that_comes_back_older_is_not_believed(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    engines = await engines_factory(append_only=True)
    at = ms(clock.now())
    async with opened(engines.database_url, engines.redis_url, clock, CATALOG) as core:
        await core.gate.consume("acme", "posts", 2, None, at)
        older = engines.copy_append_only_file()
        await core.gate.consume("acme", "posts", 7, "k", at)
        await engines.restart_valkey(older)
        denied = await core.gate.consume("acme", "posts", 2, None, at)
        assert isinstance(denied, Denied)
        assert denied.decisions[0].max_units_now == 1
        again = await core.gate.consume("acme", "posts", 7, "k", at)
        assert isinstance(again, Consumption)
        assert again.replayed


async def test_a_restart_that_kept_the_journal_forgets_nothing(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    engines = await engines_factory(append_only=True)
    at = ms(clock.now())
    async with opened(engines.database_url, engines.redis_url, clock, CATALOG) as core:
        await core.gate.consume("acme", "calls", 6, None, at)
        await core.door.command("WAITAOF", 1, 0, 5_000)
        await engines.restart_valkey()
        assert await used(core, "calls", at) == 6
        assert await recorded(core, "calls") == 6


async def test_a_slow_hydrator_cannot_install_what_is_past(built: Core, clock: FakeClock) -> None:
    at, now = ms(clock.now()), clock.now()
    snapshot = await built.holders.publish_key("acme", now)
    slow = await built.hydration.begin("acme")
    while slow is None:
        slow = await built.hydration.begin("acme")
    values = await built.hydration.read(snapshot, now)
    await built.gate.consume("acme", "calls", 8, None, at)
    assert not await built.hydration.install("acme", snapshot, slow, values, ())
    await built.drainer.drain([SHARD])
    await built.hydration.forget("acme")
    assert await built.hydration.begin("acme") not in (None, slow)
    assert not await built.hydration.install("acme", snapshot, slow, values, ())
    assert await used(built, "calls", at) == 8


async def test_a_hydrator_does_not_install_limits_that_changed_meanwhile(
    built: Core, clock: FakeClock
) -> None:
    now = clock.now()
    snapshot = await built.holders.publish_key("acme", now)
    nonce = await built.hydration.begin("acme") or await built.hydration.begin("acme")
    assert nonce is not None
    values = await built.hydration.read(snapshot, now)
    await built.changes.upsert_customer(CustomerInput("acme", timezone="Asia/Tokyo"), now, "test")
    assert not await built.hydration.install("acme", snapshot, nonce, values, ())


async def test_a_batch_that_a_drainer_holds_while_the_store_is_flushed_is_not_recorded_late(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 9, None, at)
    epoch = built.door.epoch(SHARD)
    rows = await built.door.command("XRANGE", keys.journal(SHARD), "-", "+")
    await built.door.command("FLUSHALL")
    # Another process fills the counters while this drainer still holds what it read.
    assert await used(built, "calls", at) == 0
    assert await built.drainer.record({SHARD: epoch}, {SHARD: rows}) == 0
    assert await recorded(built, "calls") == 0
    assert await used(built, "calls", at) == await recorded(built, "calls")


async def test_nobody_waits_for_an_entry_that_a_flush_took(built: Core, clock: FakeClock) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 9, None, at)
    epoch = built.door.epoch(SHARD)
    ((entry, _),) = await built.door.command("XREVRANGE", keys.journal(SHARD), "+", "-", "COUNT", 1)
    await built.door.command("FLUSHALL")
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="was replaced"):
            await built.drainer.reach(SHARD, epoch, entry_id(entry))
    assert built.door.epoch(SHARD) == epoch + 1


async def test_a_journal_read_twice_counts_once(built: Core, clock: FakeClock) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 9, None, at)
    epoch = built.door.epoch(SHARD)
    rows = await built.door.command("XRANGE", keys.journal(SHARD), "-", "+")
    await built.drainer.record({SHARD: epoch}, {SHARD: rows})
    await built.drainer.record({SHARD: epoch}, {SHARD: rows})
    await built.database.execute("update drain_positions set entry_ms = 0, entry_seq = 0")
    await built.drainer.record({SHARD: epoch}, {SHARD: rows})
    assert await recorded(built, "calls") == 9


@pytest.mark.one_server
async def test_a_reply_that_is_lost_after_the_script_ran_counts_once_under_its_key(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        assert await used(core, "calls", at) == 0
        way.lose_replies(1)
        outcome = await core.gate.consume("acme", "calls", 4, "k", at)
        assert isinstance(outcome, Consumption)
        assert outcome.replayed
        assert await used(core, "calls", at) == 4


@pytest.mark.one_server
async def test_an_unnamed_call_whose_reply_is_lost_is_never_sent_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        assert await used(core, "calls", at) == 0
        way.lose_replies(1)
        with pytest.raises(Unavailable):
            await core.gate.consume("acme", "calls", 4, None, at)
        assert await used(core, "calls", at) == 4


@pytest.mark.one_server
async def test_what_passed_under_the_open_policy_is_settled_once_even_if_it_had_been_counted(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        assert await used(core, "lenient", at) == 0
        way.lose_replies(1)
        outcome = await core.gate.consume("acme", "lenient", 4, None, at)
        assert isinstance(outcome, Consumption)
        assert outcome.degraded
        assert await core.outage.settle() == 1
        assert await core.outage.settle() == 0
        assert await used(core, "lenient", at) == 4
        assert await recorded(core, "lenient") == 4


@pytest.mark.one_server
async def test_without_counters_each_feature_answers_by_its_own_policy(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        assert await used(core, "careful", at) == 0
        way.cut()
        with pytest.raises(Unavailable):
            await core.gate.consume("acme", "calls", 1, None, at)
        passed = await core.gate.consume("acme", "careful", 2, "c1", at)
        assert isinstance(passed, Consumption)
        assert passed.degraded
        repeated = await core.gate.consume("acme", "careful", 2, "c1", at)
        assert isinstance(repeated, Consumption)
        assert repeated.id == passed.id
        with pytest.raises(Unavailable, match="allowed meanwhile"):
            await core.gate.consume("acme", "careful", 2, "c2", at)
        assert isinstance(await core.gate.consume("acme", "careful", 1, "c3", at), Consumption)
        way.down = False
        await reconnected(core)
        await core.outage.settle()
        assert await used(core, "careful", at) == 3
        again = await core.gate.consume("acme", "careful", 2, "c1", at)
        assert isinstance(again, Consumption)
        assert again.replayed


@pytest.mark.one_server
async def test_a_retry_right_after_an_outage_finds_what_passed_blind(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        assert await used(core, "lenient", at) == 0
        way.cut()
        assert isinstance(await core.gate.consume("acme", "lenient", 4, "k", at), Consumption)
        way.down = False
        await reconnected(core)
        again = await core.gate.consume("acme", "lenient", 4, "k", at)
        assert isinstance(again, Consumption)
        assert again.replayed
        assert await used(core, "lenient", at) == 4


async def test_a_call_far_from_the_stores_own_time_is_refused_in_production(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG, HEADROOM_ENV="production") as core:
        with pytest.raises(Unavailable, match="clock differs"):
            await core.gate.consume("acme", "calls", 1, None, ms(clock.now()))


async def test_a_full_journal_stops_admission_and_a_lost_record_stops_journaled_features(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    engines = await engines_factory()
    at = ms(clock.now())
    async with opened(
        engines.database_url,
        engines.redis_url,
        clock,
        CATALOG,
        HEADROOM_JOURNAL_MAX_ENTRIES="5",
    ) as core:
        for feature in ("calls", "posts", "lenient"):
            assert await used(core, feature, at) == 0
        await core.drainer.drain([SHARD])
        await engines.kill_postgres()
        with pytest.raises(Unavailable):
            await core.gate.consume("acme", "posts", 1, "p1", at)
        with pytest.raises(Unavailable):
            await core.gate.consume("acme", "posts", 1, "p2", at)
        calls = await core.gate.consume_each([ConsumeRequest("acme", "calls")] * 10, at)
        passed = sum(isinstance(outcome, Consumption) for outcome in calls)
        assert 0 < passed <= 5
        assert all("journal is full" in str(o) for o in calls if not isinstance(o, Consumption))
        lenient = await core.gate.consume("acme", "lenient", 1, None, at)
        assert isinstance(lenient, Consumption)
        assert lenient.degraded
        await engines.restart_postgres()
        await core.drainer.drain([SHARD])
        assert await recorded(core, "calls") == passed
        assert await recorded(core, "posts") <= 1
        assert isinstance(await core.gate.consume("acme", "posts", 1, "p1", at), Consumption)
        assert await recorded(core, "posts") == await used(core, "posts", at)


async def test_the_shards_epoch_is_raised_once_however_many_notice(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 1, None, at)
    before = built.door.epoch(SHARD)
    await built.door.command("DEL", keys.marker(SHARD))
    await built.gate.consume("acme", "calls", 1, None, at)
    assert built.door.epoch(SHARD) == before + 1
    assert await used(built, "calls", at) == 2


async def test_counters_that_could_not_be_made_unknown_are_not_taken_for_it(
    built: Core, clock: FakeClock
) -> None:
    await built.gate.consume("acme", "calls", 1, None, ms(clock.now()))
    # Further than the record knows: the epoch that is opened next is not it either.
    await built.door.command("SET", keys.marker(SHARD), built.door.epoch(SHARD) + 10)
    with pytest.raises(Unavailable, match="was replaced"):
        await built.hydration.forget("acme")


async def test_an_entry_that_another_process_recorded_and_cut_is_reached(
    built: Core, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 1, None, at)
    async with core(built.settings, clock, database_url, redis_url) as worker:
        await worker.door.command("PING")
        await worker.drainer.drain([SHARD])
        await built.drainer.drain([SHARD])
        entry = entry_id(await built.door.command("XADD", keys.journal(SHARD), "*", "b", "x"))
        await worker.drainer.drain([SHARD])
        async with asyncio.timeout(10):
            await built.drainer.reach(SHARD, built.door.epoch(SHARD), entry)
