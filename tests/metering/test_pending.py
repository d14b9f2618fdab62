"""Units that wait for a decision: decided, refused, left by a crash, or lost with the counters.

Each test fails without the guard that it names.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from api.catalog.customers import CustomerInput
from api.domain import keys
from api.ledger.charges import Outcome
from tests.support.clock import FakeClock
from tests.support.gate import ms
from tests.support.pending import SHARD, Halfway, halfway
from tests.support.waiting import eventually

WAITS = (
    "select exists (select from pg_stat_activity where datname = current_database()"
    " and wait_event_type = 'Lock')"
)


@pytest.fixture
async def acme(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Halfway]:
    async with halfway(database_url, redis_url, clock) as opened:
        yield opened


async def test_what_nobody_decides_counts_until_its_deadline_and_a_late_decision_fails(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.give(10, clock.now())
    made = await acme.pend(5, clock.now())
    assert await acme.used(clock.now()) == [3, 5]
    await acme.drain()
    assert await acme.recorded() == (5, 2)
    assert await acme.core.deadlines.turn(clock.now()) == 0
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == 1
    assert await acme.used(clock.now()) == [0, 0]
    assert await acme.recorded() == (0, 0)
    assert await acme.decide(made) is Outcome.VOIDED
    assert await acme.core.deadlines.turn(clock.now()) == 0
    assert await acme.pending() == [(made.reply.attempt, "void")]
    clock.advance(days=2)
    await acme.core.deadlines.turn(clock.now())
    assert await acme.pending() == []


@pytest.mark.parametrize("drained_first", [False, True], ids=["decided first", "drained first"])
async def test_what_was_decided_is_recorded_once_and_never_voided(
    acme: Halfway, clock: FakeClock, *, drained_first: bool
) -> None:
    await acme.give(10, clock.now())
    made = await acme.pend(5, clock.now())
    if drained_first:
        await acme.drain()
    assert await acme.decide(made) is Outcome.DONE
    await acme.drain()
    assert await acme.pending() == []
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == 0
    assert await acme.recorded() == (5, 2)
    await acme.core.hydration.forget("acme")
    assert await acme.used(clock.now()) == [3, 5]


async def test_a_pending_row_that_came_late_to_a_decision_is_dropped_at_its_deadline(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.give(10, clock.now())
    made = await acme.pend(5, clock.now())
    assert await acme.decide(made) is Outcome.DONE
    await acme.core.database.execute(
        "insert into credit_pending (customer_id, attempt_id, at, deadline, feature_ids, units,"
        " charged) values ($1, $2, $3, $3, '{1}', '{5}', '{2}')",
        acme.customer_id,
        made.reply.attempt,
        clock.now(),
    )
    assert await acme.core.deadlines.turn(clock.now()) == 1
    assert await acme.pending() == []
    assert await acme.recorded() == (5, 2)


async def test_what_is_decided_while_its_journal_is_recorded_leaves_nothing_pending(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.give(10, clock.now())
    made, open_ = await acme.pend(5, clock.now()), await acme.pend(1, clock.now())
    database = acme.core.database

    async def waits() -> bool:
        return await database.fetchval(WAITS) is True

    async with database.transaction() as conn:
        decided = await acme.charges.decide_on(conn, acme.charge(made))
        drain = asyncio.create_task(acme.drain())
        await eventually(waits)
    await drain
    assert decided.outcome is Outcome.DONE
    assert await acme.pending() == [(open_.reply.attempt, "open")]
    assert await acme.recorded() == (6, 3)


async def test_a_worker_that_died_before_it_told_the_counters_is_followed_by_the_next(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now())
    await acme.drain()
    clock.advance(minutes=3)
    await acme.core.deadlines.turn(clock.now())
    assert await acme.used(clock.now()) == [0, 0]
    # As if the counters had been filled before, and nobody had told them.
    await acme.core.database.execute("update credit_pending set told = false")
    name = keys.counters(SHARD, "acme")
    assert await acme.core.door.command("EXISTS", name) == 1
    assert await acme.core.deadlines.turn(clock.now()) == 1
    assert await acme.core.door.command("EXISTS", name) == 0
    assert await acme.core.deadlines.turn(clock.now()) == 0
    assert await acme.pending() == [(made.reply.attempt, "void")]


async def test_a_journal_that_is_read_again_neither_counts_nor_awaits_anything_twice(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.give(2, clock.now())
    decided, refused, open_ = [await acme.pend(units, clock.now()) for units in (4, 5, 6)]
    assert await acme.decide(decided) is Outcome.DONE
    assert await acme.decide(refused) is Outcome.INSUFFICIENT
    await acme.undo(refused)
    epoch = acme.core.door.epoch(SHARD)
    rows = await acme.core.door.command("XRANGE", keys.journal(SHARD), "-", "+")
    ended = (refused.reply.attempt, "void")
    for _ in range(2):
        await acme.core.drainer.record({SHARD: epoch}, {SHARD: rows})
        assert await acme.recorded() == (10, 7)
        assert set(await acme.pending()) == {(open_.reply.attempt, "open"), ended}
        await acme.core.database.execute("update drain_positions set entry_ms = 0, entry_seq = 0")
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == 1
    await acme.core.drainer.record({SHARD: epoch}, {SHARD: rows})
    assert await acme.recorded() == (4, 1)
    assert set(await acme.pending()) == {(open_.reply.attempt, "void"), ended}
    assert await acme.used(clock.now()) == [3, 4]


@pytest.mark.parametrize("drained", [False, True], ids=["journal lost", "journal recorded"])
async def test_counters_lost_between_pending_and_decision_leave_nothing_counted(
    acme: Halfway, clock: FakeClock, *, drained: bool
) -> None:
    await acme.give(10, clock.now())
    await acme.core.gate.consume("acme", "chat", 2, None, ms(clock.now()))
    await acme.drain()
    made = await acme.pend(5, clock.now())
    if drained:
        await acme.drain()
    await acme.lose_counters()
    assert await acme.used(clock.now()) == ([3, 7] if drained else [2, 2])
    assert await acme.decide(made) is Outcome.OTHER_EPOCH
    # Taken back under the new epoch it would be missing where it was never recorded.
    await acme.undo(made)
    await acme.drain()
    assert await acme.recorded() == ((7, 4) if drained else (2, 0))
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == int(drained)
    assert await acme.used(clock.now()) == [2, 2]
    assert await acme.recorded() == (2, 0)


async def test_two_callers_of_one_name_that_are_refused_take_it_back_once(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.core.gate.consume("acme", "chat", 2, None, ms(clock.now()))
    made = await acme.pend(5, clock.now(), "k")
    reply = await acme.counters.admit(made.operation, made.reply.at_ms)
    assert reply.adopted
    assert reply._replace(adopted=False) == made.reply._replace(entry=reply.entry)
    await acme.undo(made)
    await acme.undo(made)
    assert await acme.used(clock.now()) == [2, 2]
    await acme.drain()
    assert await acme.recorded() == (2, 0)
    again = await acme.counters.admit(made.operation._replace(attempt="~other"), made.reply.at_ms)
    assert again.attempt == "~other"


@pytest.mark.parametrize("drained", [False, True], ids=["journal waits", "journal recorded"])
async def test_what_was_taken_back_waits_for_nothing(
    acme: Halfway, clock: FakeClock, *, drained: bool
) -> None:
    made = await acme.pend(5, clock.now())
    if drained:
        await acme.drain()
        assert await acme.pending() == [(made.reply.attempt, "open")]
    await acme.undo(made)
    await acme.drain()
    assert await acme.pending() == [(made.reply.attempt, "void")]
    assert await acme.core.deadlines.turn(clock.now()) == 0
    assert await acme.used(clock.now()) == [0, 0]
    assert await acme.recorded() == (0, 0)


async def test_of_two_callers_of_one_name_the_second_is_not_charged_for_what_the_first_took_back(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now(), "k")
    assert await acme.decide(made) is Outcome.INSUFFICIENT
    await acme.undo(made)
    await acme.drain()
    await acme.give(10, clock.now())
    assert await acme.decide(made) is Outcome.VOIDED


async def test_what_was_decided_before_its_taking_back_is_recorded_stays_recorded(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now(), "k")
    assert await acme.decide(made) is Outcome.INSUFFICIENT
    await acme.give(10, clock.now())
    await acme.undo(made)
    assert await acme.decide(made) is Outcome.DONE
    await acme.drain()
    assert await acme.recorded() == (5, 2)
    await acme.core.hydration.forget("acme")
    assert await acme.used(clock.now()) == [3, 5]


async def test_what_was_counted_in_a_day_that_a_change_of_zone_made_longer_is_taken_back(
    acme: Halfway, clock: FakeClock
) -> None:
    at = clock.now()
    await acme.give(10, at)
    made = await acme.pend(5, at)
    moved = CustomerInput("acme", timezone="America/Los_Angeles")
    await acme.core.changes.upsert_customer(moved, at, "test")
    await acme.core.gate.consume("acme", "chat", 1, None, ms(at), "test")
    assert await acme.used(at) == [3, 6]
    await acme.undo(made)
    assert await acme.used(at) == [0, 1]


async def test_what_its_deadline_voided_is_not_taken_back_again(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.core.gate.consume("acme", "chat", 2, None, ms(clock.now()))
    made = await acme.pend(5, clock.now(), "k")
    await acme.drain()
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == 1
    assert await acme.used(clock.now()) == [2, 2]
    assert await acme.decide(made) is Outcome.VOIDED
    await acme.undo(made)
    assert await acme.used(clock.now()) == [2, 2]
    await acme.drain()
    assert await acme.recorded() == (2, 0)


async def test_a_filling_under_way_does_not_bring_back_what_was_taken_back(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now())
    await acme.core.hydration.forget("acme")
    snapshot = await acme.core.holders.publish_key("acme", clock.now())
    nonce = await acme.core.hydration.begin("acme")
    assert nonce is not None
    values = await acme.core.hydration.read(snapshot, clock.now())
    await acme.undo(made)
    assert not await acme.core.hydration.install("acme", snapshot, nonce, values, ())
    assert await acme.used(clock.now()) == [0, 0]


async def test_what_waits_for_a_decision_comes_back_to_counters_that_lost_it(
    acme: Halfway, clock: FakeClock
) -> None:
    await acme.give(10, clock.now())
    made = await acme.pend(5, clock.now(), "k")
    assert await acme.decide(made) is Outcome.DONE
    await acme.lose_counters()
    assert await acme.used(clock.now()) == [3, 5]
    again = await acme.counters.admit(made.operation._replace(attempt="~other"), made.reply.at_ms)
    assert again.adopted
    assert again.attempt == made.reply.attempt
    assert await acme.used(clock.now() + timedelta(seconds=1)) == [3, 5]
