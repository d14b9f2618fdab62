"""USE-5: the counter store lost everything, or came back with an older state.

Rebuilt from the durable record before the first decision; a missing or stale counter never means
"empty"; only undrained units of features that are not journaled can be forgotten, up to a
published bound: the entries that a shard's journal may hold (``HEADROOM_JOURNAL_MAX_ENTRIES``).
"""

import asyncio

import pytest

from api.catalog import audit
from api.domain import keys
from api.gates.outcome import Consumption, Denied
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import recorded, scene, used

CATALOG = """
product = "loss"

[customer_types.business]
default_plan = "free"

[features.fast]
name = "Fast"
kind = "metered"

[features.sure]
name = "Sure"
kind = "metered"
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
fast.day = 100
sure.day = 100
seats = 100
"""
ALL = ("fast", "sure", "seats")
SHARD = keys.shard_of("acme")


async def test_a_flushed_store_is_filled_before_the_first_of_many_decisions(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock, CATALOG) as site:
        for feature in ALL:
            assert (await site.consume(feature, 60)).status_code == 200
        await site.core.drainer.drain(range(256))
        await site.core.door.command("FLUSHALL")
        answers = await asyncio.gather(
            *(site.consume(feature) for feature in ALL for _ in range(60))
        )
        passed = [a.json()["feature"] for a in answers if a.status_code == 200]
        assert {feature: passed.count(feature) for feature in ALL} == dict.fromkeys(ALL, 40)


async def test_single_counters_that_vanish_are_unknown_and_not_zero(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        for feature in ALL:
            await core.gate.consume("acme", feature, 60, None, ms(clock.now()))
        place = keys.counters(SHARD, "acme")
        names = set(await core.door.command("HKEYS", place))
        # Beside the counters: the epoch they are of, and by whose filling they are known.
        assert names > {b"_", b"g"}
        assert len(names) == len(ALL) + 2
        for name in names:
            await core.door.command("HDEL", place, name)
            for feature in ALL:
                assert await used(core, feature, clock.now()) == [60]


@pytest.mark.parametrize("undrained", [0, 1, 7])
async def test_only_undrained_units_of_fast_features_are_forgotten_up_to_the_bound(
    database_url: str, redis_url: str, clock: FakeClock, undrained: int
) -> None:
    at = ms(clock.now())
    async with opened(
        database_url, redis_url, clock, CATALOG, HEADROOM_JOURNAL_MAX_ENTRIES="7"
    ) as core:
        for feature in ALL:
            await core.gate.consume("acme", feature, 60, None, at)
        await core.drainer.drain(range(256))
        for _ in range(undrained):
            await core.gate.consume("acme", "fast", 1, None, at)
        assert await core.door.command("XLEN", keys.journal(SHARD)) == undrained
        await core.door.command("FLUSHALL")
        for feature in ALL:
            allowed = await core.gate.consume("acme", feature, 40, None, at)
            assert isinstance(allowed, Consumption)
            assert isinstance(await core.gate.consume("acme", feature, 1, None, at), Denied)
        # Admitted beyond the limit: exactly what had not been drained, and only of the fast one.
        admitted = {"fast": 60 + undrained + 40, "sure": 100, "seats": 100}
        assert admitted["fast"] - 100 == undrained <= core.settings.journal_max_entries


async def test_what_was_acknowledged_as_journaled_survives_though_nobody_drained(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        for feature in ("sure", "seats"):
            await core.gate.consume("acme", feature, 60, None, ms(clock.now()))
            await core.door.command("FLUSHALL")
            assert await used(core, feature, clock.now()) == [60]


async def test_the_bound_is_enforced_while_nobody_drains(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    at = ms(clock.now())
    engines = await engines_factory()
    async with opened(
        engines.database_url,
        engines.redis_url,
        clock,
        CATALOG,
        HEADROOM_JOURNAL_MAX_ENTRIES="7",
    ) as core:
        assert await used(core, "fast", clock.now()) == [0]
        await core.drainer.drain(range(256))
        await engines.kill_postgres()
        outcomes = await asyncio.gather(
            *(core.gate.consume("acme", "fast", 1, None, at) for _ in range(50)),
            return_exceptions=True,
        )
        first = sum(isinstance(o, Consumption) for o in outcomes)
        assert first == core.settings.journal_max_entries
        await core.door.command("FLUSHALL")
        await engines.restart_postgres()
        outcomes = await asyncio.gather(
            *(core.gate.consume("acme", "fast", 1, None, at) for _ in range(7))
        )
        # What stood in the journal is gone, and no more than that.
        assert await used(core, "fast", clock.now()) == [7]
        await core.drainer.drain(range(256))
        assert await recorded(core, "fast") == 7


async def test_an_older_append_only_file_is_not_believed(
    engines_factory: EnginesFactory, clock: FakeClock
) -> None:
    at = ms(clock.now())
    engines = await engines_factory(append_only=True)
    async with opened(engines.database_url, engines.redis_url, clock, CATALOG) as core:
        for feature in ALL:
            await core.gate.consume("acme", feature, 10, None, at)
        await core.door.command("WAITAOF", 1, 0, 5_000)
        older = engines.copy_append_only_file()
        for feature in ALL:
            await core.gate.consume("acme", feature, 80, f"later-{feature}", at)
        await core.drainer.drain(range(256))
        await engines.restart_valkey(older)
        for feature in ALL:
            denied = await core.gate.consume("acme", feature, 11, None, at)
            assert isinstance(denied, Denied)
            assert denied.decisions[0].max_units_now == 10
            again = await core.gate.consume("acme", feature, 80, f"later-{feature}", at)
            assert isinstance(again, Consumption)
            assert again.replayed


async def test_an_operator_has_the_counters_of_one_customer_rebuilt(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        for feature in ALL:
            await core.gate.consume("acme", feature, 60, None, ms(clock.now()))
        rebuilt = await core.repair.usage_rebuild(
            "acme", actor="ada", reason="after the incident", at=clock.now()
        )
        for feature in ALL:
            assert [w.used for w in rebuilt.after[feature] or ()] == [60]
        number = await core.holders.number("acme")
        act, *_ = await audit.list_(core.database, customer_id=number)
        assert (act.actor, act.action, act.reason) == (
            "ada",
            "usage.rebuild",
            "after the incident",
        )
