"""USE-4: a counter looks stuck.

Counters are compared with the durable record on a schedule and repaired; an operator has
``usage explain`` and ``usage reset``.
"""

from collections.abc import AsyncIterator

import pytest

from api.catalog import audit
from api.domain import keys
from api.domain.catalog import WindowKind
from api.gates.outcome import Consumption, Denied
from api.infra.packing import pack, unpack
from api.metering.drift import Drift
from api.wiring import Core
from api.worker.sweep import DriftSweep
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import BOOKKEEPER, recorded, scene, subscribe, used

PLACE = keys.counters(keys.shard_of("acme"), "acme")


@pytest.fixture
async def core(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, BOOKKEEPER) as built:
        await subscribe(built, "acme", "starter", clock.now())
        yield built


async def spoil(core: Core, feature: str, window: WindowKind, units: int) -> None:
    """Change one counter behind everybody's back."""
    field = f"{core.revisions.newest.feature_ids[feature]}:{window.code}"
    value = await core.door.command("HGET", PLACE, field)
    end_s, _ = unpack(b"\x92" + value)
    await core.door.command("HSET", PLACE, field, pack(end_s) + pack(units))


@pytest.mark.parametrize("wrong", [300, 7])
async def test_a_counter_that_differs_is_found_on_schedule_and_repaired(
    core: Core, clock: FakeClock, wrong: int
) -> None:
    await core.gate.consume("acme", "tx_post", 120, None, ms(clock.now()))
    await spoil(core, "tx_post", WindowKind.MONTH, wrong)
    assert await used(core, "tx_post", clock.now()) == [wrong]

    snapshot = await core.holders.snapshot("acme", clock.now())
    found = await core.drift.compare("acme", snapshot, clock.now())
    feature_id = core.revisions.newest.feature_ids["tx_post"]
    assert found == (Drift(feature_id, WindowKind.MONTH, counted=wrong, recorded=120),)

    sweep = DriftSweep(core)
    await sweep.turn(clock.now(), 0)
    assert await used(core, "tx_post", clock.now()) == [120]
    assert await core.drift.compare("acme", snapshot, clock.now()) == ()
    denied = await core.gate.consume("acme", "tx_post", 181, None, ms(clock.now()))
    assert isinstance(denied, Denied)
    assert denied.decisions[0].max_units_now == 180
    act, *_ = await audit.list_(core.database, customer_id=await core.holders.number("acme"))
    assert (act.actor, act.action) == ("worker", "usage.repair")
    assert act.detail["counters"] == [
        {"feature": feature_id, "window": "month", "counted": wrong, "recorded": 120}
    ]


async def test_counters_that_are_right_are_left_alone(core: Core, clock: FakeClock) -> None:
    await core.gate.consume("acme", "tx_post", 120, None, ms(clock.now()))
    before = await core.door.command("HGETALL", PLACE)
    sweep = DriftSweep(core)
    await sweep.turn(clock.now(), 0)
    assert await core.door.command("HGETALL", PLACE) == before
    acts = await audit.list_(core.database, customer_id=await core.holders.number("acme"))
    assert "usage.repair" not in {act.action for act in acts}


async def test_an_operator_is_told_where_each_figure_comes_from(
    core: Core, clock: FakeClock
) -> None:
    await core.gate.consume("acme", "tx_post", 120, None, ms(clock.now()))
    explained = await core.repair.usage_explain("acme", "tx_post", clock.now())
    assert (explained.shard, explained.waiting) == (keys.shard_of("acme"), 1)
    assert explained.settled
    [one] = explained.features["tx_post"]
    assert (one.figure.limit, one.counted, one.recorded, one.drifted) == (300, 120, 120, False)

    await spoil(core, "tx_post", WindowKind.MONTH, 300)
    [one] = (await core.repair.usage_explain("acme", "tx_post", clock.now())).features["tx_post"]
    assert (one.figure.used, one.counted, one.recorded, one.drifted) == (300, 300, 120, True)

    repaired = await core.repair.usage_rebuild(
        "acme", actor="ada", reason="looks stuck", at=clock.now()
    )
    assert [w.used for w in repaired.before["tx_post"] or ()] == [300]
    assert [w.used for w in repaired.after["tx_post"] or ()] == [120]


async def test_an_operator_gives_the_customer_its_month_back(core: Core, clock: FakeClock) -> None:
    at = ms(clock.now())
    await core.gate.consume("acme", "tx_post", 300, "all", at)
    assert isinstance(await core.gate.consume("acme", "tx_post", 1, None, at), Denied)
    clock.advance(hours=2)
    repaired = await core.repair.usage_reset(
        "acme",
        "tx_post",
        WindowKind.MONTH,
        actor="ada",
        reason="an import ran twice",
        at=clock.now(),
    )
    assert repaired.units == 300
    assert await used(core, "tx_post", clock.now()) == [0]
    assert isinstance(
        await core.gate.consume("acme", "tx_post", 300, None, ms(clock.now())), Consumption
    )
    # The record was not edited: what was used stands there, and what was given back beside it.
    await core.drainer.drain(range(256))
    units = await core.database.fetch("select units from usage_events order by units")
    assert [row["units"] for row in units] == [-300, 300, 300]
    assert await recorded(core, "tx_post") == 300
    # It holds for a counter store that has lost everything, too.
    await core.door.command("FLUSHALL")
    assert await used(core, "tx_post", clock.now()) == [300]
    act, *_ = await audit.list_(core.database, customer_id=await core.holders.number("acme"))
    assert (act.actor, act.action, act.reason) == ("ada", "usage.reset", "an import ran twice")


EXPLAIN = """
{
  usageExplain(customer: "acme", feature: "tx_post") {
    features { feature counters { window { used limit } counted recorded drifted } }
  }
}
"""
RESET = """
mutation {
  resetUsage(customer: "acme", feature: "tx_post", window: MONTH, reason: "an import ran twice") {
    units after { feature windows { used } }
  }
}
"""


async def test_both_are_asked_for_in_graphql_as_well(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.consume("tx_post", 300)
        assert (await books.consume("tx_post")).status_code == 402
        said = (await books.ask(EXPLAIN))["usageExplain"]
        assert said["features"] == [
            {
                "feature": "tx_post",
                "counters": [
                    {
                        "window": {"used": 300, "limit": 300},
                        "counted": 300,
                        "recorded": 300,
                        "drifted": False,
                    }
                ],
            }
        ]
        reset = (await books.ask(RESET))["resetUsage"]
        assert reset["units"] == 300
        assert reset["after"] == [{"feature": "tx_post", "windows": [{"used": 0}]}]
        assert (await books.consume("tx_post")).status_code == 200
