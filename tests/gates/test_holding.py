"""Holds around an outage of the counters, and answers that were lost on the way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.domain.errors import Unavailable
from api.gates.held import Hold, Whose
from api.ledger.holds import HoldState
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, gift
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.gate import ms, opened
from tests.support.scene import figures
from tests.support.waiting import eventually


@pytest.fixture
async def way(redis_url: str) -> AsyncIterator[FlakyWay]:
    async with flaky_way(redis_url) as opened_way:
        yield opened_way


@pytest.fixture
async def core(database_url: str, way: FlakyWay, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, way.url, clock, CATALOG) as built:
        await gift(built, clock, 40)
        yield built


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


async def placed(core: Core, clock: FakeClock, units: int, key: str | None = None) -> Hold:
    hold = await core.holding.place("acme", "chat", units, key, ms(clock.now()), actor="test")
    assert isinstance(hold, Hold)
    return hold


async def standing(core: Core, clock: FakeClock) -> list[tuple[int, int]]:
    return [(one.used, one.held) for one in await figures(core, "chat", clock.now())]


def whose(hold: Hold, clock: FakeClock) -> Whose:
    return Whose("acme", hold.id, None, ms(clock.now()), "test")


async def test_what_is_resolved_while_the_counters_are_gone_is_told_to_them_later(
    core: Core, way: FlakyWay, clock: FakeClock
) -> None:
    captured, voided = await placed(core, clock, 60), await placed(core, clock, 60)
    expiring = await placed(core, clock, 20)
    await lost(core, way)
    with pytest.raises(Unavailable):
        await placed(core, clock, 1)
    taken = await core.holding.capture(whose(captured, clock), units=50)
    assert isinstance(taken, Hold)
    given_back = await core.holding.void(whose(voided, clock))
    assert (taken.record.state, given_back.record.state) == (HoldState.CAPTURED, HoldState.VOIDED)
    clock.advance(seconds=600)
    assert await core.holding.expire(clock.now()) == 1
    found = await core.holding.find("acme", expiring.id)
    assert found is not None
    assert found.record.state is HoldState.EXPIRED
    assert await accounts(core) == {"available": 40}

    await restored(core, way)
    assert await standing(core, clock) == [(0, 140), (0, 100)]
    assert await core.holding.tell_again() == 3
    assert await standing(core, clock) == [(50, 0), (50, 0)]
    assert await core.holding.tell_again() == 0


async def test_telling_that_was_lost_on_the_way_is_told_again_and_counts_once(
    core: Core, way: FlakyWay, clock: FakeClock
) -> None:
    hold = await placed(core, clock, 130)
    way.lose_replies(1)
    await core.holding.capture(whose(hold, clock), units=120)
    await eventually(lambda: answers(core))
    await core.holding.tell_again()
    assert await standing(core, clock) == [(120, 0), (100, 0)]
    assert await accounts(core) == {"available": 34, "spent": 6}


async def test_a_placing_whose_answer_was_lost_is_found_again_under_its_key(
    core: Core, way: FlakyWay, clock: FakeClock
) -> None:
    assert await standing(core, clock) == [(0, 0), (0, 0)]
    way.lose_replies(1)
    try:
        await placed(core, clock, 130, "k")
    except Unavailable:
        await eventually(lambda: answers(core))
    hold = await placed(core, clock, 130, "k")
    assert await standing(core, clock) == [(0, 130), (0, 100)]
    assert await accounts(core) == {"available": 31, "held": 9}
    await core.holding.void(whose(hold, clock))
    assert await standing(core, clock) == [(0, 0), (0, 0)]


async def test_many_callers_resolve_one_hold_once(core: Core, clock: FakeClock) -> None:
    hold = await placed(core, clock, 130)
    one = whose(hold, clock)
    outcomes = await asyncio.gather(
        *(core.holding.capture(one, units=units) for units in range(101, 121)),
        *(core.holding.void(one) for _ in range(20)),
        core.holding.expire(clock.now()),
        return_exceptions=True,
    )
    [winner] = [one for one in outcomes if isinstance(one, Hold)]
    captured = winner.record.captured
    assert [used for used, _ in await standing(core, clock)] == [captured, min(captured, 100)]
    spent = -(-max(0, captured - 100) * 3 // 10)
    moved = await accounts(core)
    assert (moved.get("held", 0), moved.get("spent", 0)) == (0, spent)


async def test_a_hold_that_cannot_be_ended_does_not_keep_the_others(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG, ("acme", "globex")) as core:
        holds = []
        for customer in ("acme", "globex"):
            await gift(core, clock, 40, customer=customer)
            at = ms(clock.now())
            held = await core.holding.place(
                customer, "claim", 2, None, at, seconds=60, actor="test"
            )
            assert isinstance(held, Hold)
            holds.append(held)
        # As the audit finds it: what is kept of a grant is not what its entries sum to.
        await core.database.execute(
            "update credit_grants set held = 0"
            " where customer_id = (select id from customers where key = 'acme')"
        )
        clock.advance(seconds=61)
        assert await core.holding.expire(clock.now()) == 1
        assert await core.holding.expire(clock.now()) == 0
        broken, other = [await core.holding.find(h.customer, h.id) for h in holds]
        assert broken is not None
        assert other is not None
        assert (broken.record.state, other.record.state) == (HoldState.OPEN, HoldState.EXPIRED)
