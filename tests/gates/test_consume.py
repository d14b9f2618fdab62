"""The gate on real engines: allowed, denied, repeated, released."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.catalog.customers import CustomerInput
from api.domain.catalog import WindowKind
from api.domain.errors import IdempotencyConflict, InvalidInput, UnknownCustomer, UnknownFeature
from api.gates.outcome import ConsumeRequest, Consumption, Denied
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
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[features.export]
name = "Export"
kind = "boolean"

[plans.free]
name = "Free"
[plans.free.features]
calls = { hour = 5, day = 8 }
posts.month = 10
seats = 3

[plans.pro]
name = "Pro"
[plans.pro.features]
calls.day = 100
posts.month = 100
seats = 10
export = true
"""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def test_units_pass_until_the_limit_and_the_denial_says_what_would_help(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    first = await built.gate.consume("acme", "calls", 5, None, at)
    assert isinstance(first, Consumption)
    assert [(w.window, w.used, w.limit) for w in first.windows] == [
        (WindowKind.HOUR, 5, 5),
        (WindowKind.DAY, 5, 8),
    ]
    denied = await built.gate.consume("acme", "calls", 1, None, at)
    assert isinstance(denied, Denied)
    decision = denied.decisions[0]
    assert (decision.code, decision.status) == ("HOURLY_CAP_EXCEEDED", 429)
    assert decision.retry_after_seconds == 3600
    assert decision.max_units_now == 0
    assert decision.unlocked_by == ("pro",)
    clock.advance(hours=1)
    denied = await built.gate.consume("acme", "calls", 4, None, ms(clock.now()))
    assert isinstance(denied, Denied)
    assert denied.decisions[0].code == "DAILY_CAP_EXCEEDED"
    assert denied.decisions[0].max_units_now == 3
    clock.advance(days=1)
    assert isinstance(
        await built.gate.consume("acme", "calls", 5, None, ms(clock.now())), Consumption
    )


async def test_several_features_are_counted_together_or_not_at_all(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    denied = await built.gate.consume_together("acme", [("calls", 2), ("posts", 11)], None, at)
    assert isinstance(denied, Denied)
    assert [d.feature for d in denied.decisions] == ["posts"]
    figures = await built.gate.figures("acme", ["calls", "posts", "export"], at)
    assert figures["export"] is None
    assert [w.used for w in figures["calls"] or ()] == [0, 0]
    both = await built.gate.consume_together("acme", [("calls", 2), ("posts", 10)], None, at)
    assert not isinstance(both, Denied)
    assert [c.windows[0].used for c in both] == [2, 10]


async def test_the_same_key_counts_once_and_other_contents_are_refused(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    answers = await asyncio.gather(
        *(built.gate.consume("acme", "calls", 2, "op-1", at) for _ in range(20))
    )
    assert all(isinstance(a, Consumption) for a in answers)
    assert sum(not a.replayed for a in answers if isinstance(a, Consumption)) == 1
    assert len({a.id for a in answers if isinstance(a, Consumption)}) == 1
    with pytest.raises(IdempotencyConflict):
        await built.gate.consume("acme", "calls", 3, "op-1", at)
    figures = await built.gate.figures("acme", ["calls"], at)
    assert [w.used for w in figures["calls"] or ()] == [2, 2]


async def test_a_journaled_answer_is_in_the_record_and_replayed_from_it(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    first = await built.gate.consume("acme", "posts", 4, "post-1", at)
    number = await built.holders.number("acme")
    assert (
        await built.database.fetchval(
            "select sum(units) from usage_events where customer_id = $1", number
        )
        == 4
    )
    await built.door.command("FLUSHALL")
    again = await built.gate.consume("acme", "posts", 4, "post-1", at)
    assert isinstance(first, Consumption)
    assert isinstance(again, Consumption)
    assert again.replayed
    assert (again.id, again.windows) == (first.id, first.windows)
    with pytest.raises(IdempotencyConflict):
        await built.gate.consume("acme", "posts", 5, "post-1", at)


async def test_lost_counters_are_filled_from_the_record_before_the_first_decision(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 4, "k", at)
    await built.drainer.drain(range(256))
    await built.door.command("FLUSHALL")
    denied = await built.gate.consume("acme", "calls", 2, None, at)
    assert isinstance(denied, Denied)
    assert denied.decisions[0].max_units_now == 1
    again = await built.gate.consume("acme", "calls", 4, "k", at)
    assert isinstance(again, Consumption)
    assert again.replayed


async def test_an_allocation_goes_up_and_down_and_never_below_zero(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "seats", 3, None, at)
    denied = await built.gate.consume("acme", "seats", 1, None, at)
    assert isinstance(denied, Denied)
    assert (denied.decisions[0].code, denied.decisions[0].status) == ("ALLOCATION_EXCEEDED", 402)
    assert denied.decisions[0].unlocked_by == ("pro",)
    released = await built.gate.release("acme", "seats", 2, None, at)
    assert released.windows[0].used == 1
    with pytest.raises(InvalidInput, match="more units would be released"):
        await built.gate.release("acme", "seats", 2, None, at)
    stated = await built.gate.state("acme", "seats", 7, None, at)
    assert stated.windows[0].used == 7
    number = await built.holders.number("acme")
    assert (
        await built.database.fetchval("select units from balances where customer_id = $1", number)
        == 7
    )


async def test_a_release_by_consumption_gives_back_what_it_took_once(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    taken = await built.gate.consume("acme", "calls", 5, None, at)
    assert isinstance(taken, Consumption)
    clock.advance(hours=1)
    now = ms(clock.now())
    for _ in range(2):
        back = await built.releases.release("acme", "calls", 3, taken.id, "r1", now)
        assert [w.used for w in back.windows] == [0, 2]
    with pytest.raises(InvalidInput, match="3 were given back already"):
        await built.releases.release("acme", "calls", 3, taken.id, "r2", now)
    with pytest.raises(InvalidInput, match="not the id of a consumption"):
        await built.releases.release("acme", "calls", 3, "nonsense!", "r3", now)


async def test_a_batch_answers_each_item_on_its_own(built: Core, clock: FakeClock) -> None:
    at = ms(clock.now())
    await built.changes.upsert_customer(CustomerInput("other"), clock.now(), "test")
    outcomes = await built.gate.consume_each(
        [
            ConsumeRequest("acme", "calls", 5),
            ConsumeRequest("acme", "calls", 1),
            ConsumeRequest("nobody", "calls", 1),
            ConsumeRequest("other", "nothing", 1),
            ConsumeRequest("other", "calls", 1),
        ],
        at,
    )
    assert [type(o) for o in outcomes] == [
        Consumption,
        Denied,
        UnknownCustomer,
        UnknownFeature,
        Consumption,
    ]


async def test_what_is_not_granted_says_which_plan_has_it(built: Core, clock: FakeClock) -> None:
    decision = await built.gate.check("acme", "export", 1, ms(clock.now()))
    assert (decision.code, decision.status) == ("FEATURE_NOT_IN_PLAN", 402)
    assert decision.unlocked_by == ("pro",)
