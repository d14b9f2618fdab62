"""Filling counters where it is easy to be wrong by an hour, a plan or a lifetime."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import subscribe, used

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.stamps]
name = "Stamps"
kind = "metered"
durability = "journaled"

[features.notes]
name = "Notes"
kind = "metered"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
calls.month = { units = 100, anchor = "billing" }
notes = "unlimited"
stamps.lifetime = 5
seats = 5

[plans.by_day]
name = "By the day"
[plans.by_day.prices]
by_day = { amount_minor = 100, currency = "usd", interval = "month" }
[plans.by_day.features]
calls = { day = 10, month = 1000 }
stamps.lifetime = 5
seats = 5

[plans.by_month]
name = "By the month"
[plans.by_month.prices]
by_month = { amount_minor = 200, currency = "usd", interval = "month" }
[plans.by_month.features]
calls.month = 1000
stamps.lifetime = 5
seats = 5
"""
ANCHOR = datetime(2026, 3, 10, 10, 30, tzinfo=UTC)


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def lost(core: Core) -> None:
    """Let the record have everything, and the counter store nothing."""
    await core.drainer.drain(range(256))
    await core.door.command("FLUSHALL")


async def test_a_window_that_begins_within_an_hour_is_filled_from_its_first_minute(
    built: Core, clock: FakeClock
) -> None:
    await subscribe(built, "acme", "free", clock.now(), billing_anchor=ANCHOR)
    clock.set(ANCHOR.replace(minute=15))
    await built.gate.consume("acme", "calls", 7, None, ms(clock.now()))
    clock.set(datetime(2026, 4, 10, 10, 15, tzinfo=UTC))
    await built.gate.consume("acme", "calls", 11, None, ms(clock.now()))
    clock.set(datetime(2026, 4, 10, 10, 45, tzinfo=UTC))
    for units in (20, 3):
        await built.gate.consume("acme", "calls", units, None, ms(clock.now()))
        clock.advance(minutes=30)
    assert await used(built, "calls", clock.now()) == [23]
    await lost(built)
    assert await used(built, "calls", clock.now()) == [23]
    denied = await built.gate.consume("acme", "calls", 78, None, ms(clock.now()))
    assert isinstance(denied, Denied)
    assert denied.decisions[0].max_units_now == 77
    assert isinstance(
        await built.gate.consume("acme", "calls", 77, None, ms(clock.now())), Consumption
    )


async def test_a_limit_that_comes_back_within_its_window_counts_what_was_used_without_it(
    built: Core, clock: FakeClock
) -> None:
    await subscribe(built, "acme", "by_day", clock.now())
    await built.gate.consume("acme", "calls", 4, None, ms(clock.now()))
    clock.advance(hours=1)
    await subscribe(built, "acme", "by_month", clock.now())
    await built.gate.consume("acme", "calls", 5, None, ms(clock.now()))
    clock.advance(hours=1)
    await subscribe(built, "acme", "by_day", clock.now())
    assert await used(built, "calls", clock.now()) == [9, 9]
    denied = await built.gate.consume("acme", "calls", 2, None, ms(clock.now()))
    assert isinstance(denied, Denied)
    assert (denied.decisions[0].code, denied.decisions[0].max_units_now) == (
        "DAILY_CAP_EXCEEDED",
        1,
    )


async def test_what_never_resets_is_filled_with_all_that_ever_was(
    built: Core, clock: FakeClock
) -> None:
    await built.gate.consume("acme", "stamps", 3, None, ms(clock.now()))
    await built.gate.consume("acme", "seats", 4, None, ms(clock.now()))
    clock.advance(days=400)
    await built.gate.consume("acme", "stamps", 1, None, ms(clock.now()))
    await built.gate.release("acme", "seats", 1, None, ms(clock.now()))
    await lost(built)
    at = ms(clock.now())
    assert await used(built, "stamps", clock.now()) == [4]
    assert await used(built, "seats", clock.now()) == [3]
    for feature, left in (("stamps", 1), ("seats", 2)):
        denied = await built.gate.consume("acme", feature, left + 1, None, at)
        assert isinstance(denied, Denied)
        assert denied.decisions[0].max_units_now == left
        assert isinstance(await built.gate.consume("acme", feature, left, None, at), Consumption)


async def test_a_named_call_without_any_limit_is_known_again_after_a_loss(
    built: Core, clock: FakeClock
) -> None:
    first = await built.gate.consume("acme", "notes", 3, "k", ms(clock.now()))
    await lost(built)
    again = await built.gate.consume("acme", "notes", 3, "k", ms(clock.now()))
    assert isinstance(first, Consumption)
    assert isinstance(again, Consumption)
    assert (again.replayed, again.id) == (True, first.id)
    await built.drainer.drain(range(256))
    assert await built.database.fetchval("select sum(units) from usage_events") == 3
