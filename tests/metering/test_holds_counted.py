"""What the counters show of holds: placed, told late and twice, filled from the record, moved."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from api.catalog.customers import CustomerInput
from api.domain import keys
from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.pending import HoldFigures
from api.gates.held import Hold, Whose
from api.ledger.charges import Outcome
from api.metering.resolve import Resolving
from tests.support.clock import FakeClock
from tests.support.gate import ms
from tests.support.pending import SHARD, Halfway, halfway


@pytest.fixture
async def acme(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Halfway]:
    async with halfway(database_url, redis_url, clock) as opened:
        await opened.give(50, clock.now())
        yield opened


async def placed(acme: Halfway, units: int, at: datetime) -> Hold:
    hold = await acme.core.holding.place("acme", "chat", units, None, ms(at), actor="test")
    assert isinstance(hold, Hold)
    return hold


def whose(hold: Hold, at: datetime) -> Whose:
    return Whose("acme", hold.id, None, ms(at), "test")


async def shown(acme: Halfway, at: datetime) -> list[tuple[int, int]]:
    """Return what is used and what is held of the day's included chats, and in the month."""
    return [(window.used, window.held) for window in await acme.figures(at)]


async def test_what_is_held_is_shown_apart_and_comes_back_to_lost_counters(
    acme: Halfway, clock: FakeClock
) -> None:
    hold = await placed(acme, 5, clock.now())
    assert await shown(acme, clock.now()) == [(0, 3), (0, 5)]
    await acme.lose_counters()
    assert await shown(acme, clock.now()) == [(0, 3), (0, 5)]
    # Of what is captured, the included chats come first.
    await acme.core.holding.capture(whose(hold, clock.now()), units=4, final=False)
    assert await shown(acme, clock.now()) == [(3, 0), (4, 1)]
    await acme.lose_counters()
    assert await shown(acme, clock.now()) == [(3, 0), (4, 1)]
    await acme.core.holding.void(whose(hold, clock.now()))
    # Told, and not forgotten.
    assert await acme.core.door.command("EXISTS", keys.counters(SHARD, "acme")) == 1
    assert await shown(acme, clock.now()) == [(3, 0), (4, 0)]
    await acme.lose_counters()
    assert await shown(acme, clock.now()) == [(3, 0), (4, 0)]


async def test_a_hold_that_ends_after_its_day_has_turned_gives_back_to_the_month_only(
    acme: Halfway, clock: FakeClock
) -> None:
    hold = await placed(acme, 5, clock.now())
    await placed(acme, 1, clock.now())
    clock.advance(minutes=5)
    await acme.core.holding.extend(whose(hold, clock.now()), 86_400)
    clock.advance(hours=15)
    await acme.core.gate.consume("acme", "chat", 2, None, ms(clock.now()))
    assert await shown(acme, clock.now()) == [(2, 0), (2, 6)]
    await acme.core.holding.void(whose(hold, clock.now()))
    assert await shown(acme, clock.now()) == [(2, 0), (2, 1)]


async def test_a_hold_that_the_record_has_not_decided_is_usage_to_a_filling(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now(), hold=True)
    assert await shown(acme, clock.now()) == [(0, 3), (0, 5)]
    await acme.core.hydration.forget("acme")
    assert await shown(acme, clock.now()) == [(3, 0), (5, 0)]
    assert await acme.decide(made, until=clock.now() + timedelta(hours=1)) is Outcome.DONE
    assert await acme.pending() == []
    # The counters do not know it: told how it ends, they are filled anew.
    await Resolving(acme.core.door).tell("acme", made.reply.attempt, HoldFigures(1, 5, 3, 1, 0))
    assert await acme.core.door.command("EXISTS", keys.counters(SHARD, "acme")) == 0
    assert await shown(acme, clock.now()) == [(0, 3), (0, 5)]


async def test_a_hold_that_nobody_decides_is_voided_by_its_deadline(
    acme: Halfway, clock: FakeClock
) -> None:
    made = await acme.pend(5, clock.now(), hold=True)
    await acme.drain()
    clock.advance(minutes=3)
    assert await acme.core.deadlines.turn(clock.now()) == 1
    assert await shown(acme, clock.now()) == [(0, 0), (0, 0)]
    assert await acme.decide(made, until=clock.now() + timedelta(hours=1)) is Outcome.VOIDED


async def test_figures_told_twice_late_and_out_of_order_come_to_the_same(
    acme: Halfway, clock: FakeClock
) -> None:
    hold = await placed(acme, 5, clock.now())
    tell = Resolving(acme.core.door).tell
    second = HoldFigures(2, 5, 3, 1, 0)
    for figures in (second, HoldFigures(1, 5, 3, 4, 2), second):
        await tell("acme", hold.record.id, figures)
        assert await shown(acme, clock.now()) == [(3, 0), (4, 1)]
    await tell("acme", hold.record.id, HoldFigures(3, 4, 3, 0, 0))
    assert await shown(acme, clock.now()) == [(3, 0), (4, 0)]


async def test_a_filling_under_way_does_not_bring_back_what_a_hold_gave_back(
    acme: Halfway, clock: FakeClock
) -> None:
    hold = await placed(acme, 5, clock.now())
    await acme.core.hydration.forget("acme")
    snapshot = await acme.core.holders.publish_key("acme", clock.now())
    nonce = await acme.core.hydration.begin("acme")
    assert nonce is not None
    values = await acme.core.hydration.read(snapshot, clock.now())
    await acme.core.holding.void(whose(hold, clock.now()))
    assert not await acme.core.hydration.install("acme", snapshot, nonce, values, ())
    assert await shown(acme, clock.now()) == [(0, 0), (0, 0)]


async def test_a_limit_that_comes_while_a_hold_is_open_learns_how_it_ends(
    acme: Halfway, clock: FakeClock
) -> None:
    at = clock.now()
    hold = await placed(acme, 5, at)
    promised = OverrideFacts("chat", limits=(Limit(WindowKind.WEEK, 50),))
    await acme.core.changes.set_override("acme", promised, at=at, actor="ada", reason="test")
    assert await shown(acme, at) == [(0, 3), (0, 5), (0, 5)]
    await acme.core.holding.capture(whose(hold, at), units=1)
    assert await shown(acme, at) == [(1, 0), (1, 0), (1, 0)]


async def test_a_limit_that_comes_before_the_counters_heard_of_a_capture_is_not_misled_by_it(
    acme: Halfway, clock: FakeClock
) -> None:
    at = clock.now()
    hold = await placed(acme, 5, at)
    name = keys.counters(SHARD, "acme")
    before = await acme.core.door.command("DUMP", name)
    await acme.core.holding.capture(whose(hold, at), units=1)
    # As if it had not been told: the counters are as they were.
    await acme.core.door.command("RESTORE", name, 0, before, "REPLACE")
    promised = OverrideFacts("chat", limits=(Limit(WindowKind.WEEK, 50),))
    await acme.core.changes.set_override("acme", promised, at=at, actor="ada", reason="test")
    await shown(acme, at)
    await Resolving(acme.core.door).tell("acme", hold.record.id, HoldFigures(1, 1, 1, 0, 0))
    assert await shown(acme, at) == [(1, 0), (1, 0), (1, 0)]


async def test_a_hold_ends_in_a_day_that_a_change_of_zone_made_longer(
    acme: Halfway, clock: FakeClock
) -> None:
    at = clock.now()
    hold = await placed(acme, 5, at)
    moved = CustomerInput("acme", timezone="America/Los_Angeles")
    await acme.core.changes.upsert_customer(moved, at, "test")
    name = keys.counters(SHARD, "acme")
    assert await acme.core.door.command("HEXISTS", name, f"h{hold.record.id}") == 1
    await acme.core.gate.consume("acme", "chat", 1, None, ms(at))
    assert await shown(acme, at) == [(0, 3), (1, 5)]
    await acme.core.holding.void(whose(hold, at))
    assert await shown(acme, at) == [(0, 0), (1, 0)]


async def test_a_process_that_is_late_to_see_a_new_epoch_tells_it_too(
    acme: Halfway, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = clock.now()
    hold = await placed(acme, 5, at)
    async with halfway(database_url, redis_url, clock) as other:
        await other.figures(at)
        await acme.core.door.command("DEL", keys.marker(SHARD))
        assert await shown(acme, at) == [(0, 3), (0, 5)]
        await other.core.holding.void(whose(hold, at))
        assert await shown(acme, at) == [(0, 0), (0, 0)]
