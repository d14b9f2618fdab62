"""Denials, held units and watching limits after the catalog or an override changed."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api.catalog.file import parse
from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.errors import InvalidInput
from api.gates.outcome import Consumption, Denied
from api.infra import telemetry
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
[features.posts]
name = "Posts"
kind = "metered"
[features.seats]
name = "Seats"
kind = "allocation"
[features.watched]
name = "Watched"
kind = "metered"
[plans.free]
name = "Free"
[plans.free.features]
calls = { day = 8, month = 100 }
posts.month = 10
seats = 30
watched.month = { units = 2, shadow = true }
[plans.pro]
name = "Pro"
[plans.pro.features]
calls = { day = 100, month = 1000 }
posts.month = 100
seats = 20
"""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def promise(built: Core, clock: FakeClock, override: OverrideFacts) -> None:
    at = clock.now()
    await built.changes.set_override("acme", override, at=at, actor="test", reason="test")


async def take_seats_away(built: Core, clock: FakeClock) -> None:
    less = parse(CATALOG.replace("seats = 30\n", ""), "test.toml")
    await built.revisions.apply(less, "test", "test", clock.now())
    await built.changes.walk(clock.now())


async def test_a_block_that_has_ended_hides_no_plan(built: Core, clock: FakeClock) -> None:
    ends = clock.now() + timedelta(hours=1)
    await promise(built, clock, OverrideFacts("calls", enabled=False, expires_at=ends))
    blocked = await built.gate.check("acme", "calls", 9, ms(clock.now()))
    assert (blocked.code, blocked.unlocked_by) == ("FEATURE_UNAVAILABLE", ())
    clock.advance(hours=2)
    denied = await built.gate.check("acme", "calls", 9, ms(clock.now()))
    assert (denied.code, denied.unlocked_by) == ("DAILY_CAP_EXCEEDED", ("pro",))


async def test_no_plan_helps_against_a_limit_that_an_override_sets(
    built: Core, clock: FakeClock
) -> None:
    await promise(built, clock, OverrideFacts("posts", limits=(Limit(WindowKind.MONTH, 2),)))
    denied = await built.gate.check("acme", "posts", 3, ms(clock.now()))
    assert (denied.status, denied.unlocked_by) == (429, ())
    assert denied.window is not None
    assert denied.window.limit == 2
    # Another feature's denial is not touched by it.
    other = await built.gate.check("acme", "calls", 9, ms(clock.now()))
    assert other.unlocked_by == ("pro",)


async def test_held_units_of_a_plan_that_gives_none_any_more_can_be_given_back(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "seats", 30, None, at)
    await take_seats_away(built, clock)
    denied = await built.gate.check("acme", "seats", 1, at)
    assert (denied.code, denied.unlocked_by) == ("FEATURE_UNAVAILABLE", ())
    assert [(w.used, w.limit, w.granted) for w in denied.windows] == [(30, 0, False)]
    assert isinstance(await built.gate.consume("acme", "seats", 1, None, at), Denied)

    released = await built.gate.release("acme", "seats", 11, None, at)
    assert [w.used for w in released.windows] == [19]
    denied = await built.gate.check("acme", "seats", 1, at)
    assert (denied.code, denied.unlocked_by) == ("FEATURE_NOT_IN_PLAN", ("pro",))
    stated = await built.gate.state("acme", "seats", 5, None, at)
    assert [w.used for w in stated.windows] == [5]
    with pytest.raises(InvalidInput):
        await built.gate.release("acme", "seats", 6, None, at)

    await built.drainer.drain(range(256))
    await built.door.command("FLUSHALL")
    shown = (await built.gate.figures("acme", ["seats"], at))["seats"]
    assert shown is not None
    assert [(w.used, w.limit, w.remaining) for w in shown] == [(5, 0, 0)]
    await built.gate.state("acme", "seats", 0, None, at)
    assert (await built.gate.figures("acme", ["seats"], at))["seats"] is None


async def test_a_call_that_a_watching_limit_would_refuse_is_counted_once(
    built: Core, clock: FakeClock
) -> None:
    def refused() -> float:
        name = 'headroom_shadow_refusals_total{feature="watched",window="month"} '
        lines = telemetry.exposition().decode().splitlines()
        return sum(float(x.removeprefix(name)) for x in lines if x.startswith(name))

    at, before = ms(clock.now()), refused()
    for _ in range(2):
        await built.gate.consume("acme", "watched", 1, None, at)
    assert refused() == before
    for _ in range(2):
        passed = await built.gate.consume("acme", "watched", 1, "same", at)
        assert isinstance(passed, Consumption)
    await built.gate.check("acme", "watched", 1, at)
    assert refused() == before + 1
    twice = [("watched", 1), ("watched", 1)]
    await built.gate.consume_together("acme", twice, None, at)
    assert refused() == before + 2
