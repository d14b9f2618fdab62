"""Holds: set aside at once, taken for good or given back once, and shown apart meanwhile."""

from collections.abc import AsyncIterator

import pytest

from api.catalog.customers import CustomerInput
from api.domain.errors import HoldClosed, IdempotencyConflict, InvalidInput, NotFound
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.ledger.holds import HoldState
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import subscribe
from tests.support.spending import (
    ACTOR,
    CATALOG,
    agree,
    books,
    grant,
    standing,
    whose,
    work,
)

OPEN = """
[plans.open]
[plans.open.prices.open]
amount_minor = 300
currency = "usd"
interval = "month"
[plans.open.features]
chat = "unlimited"
"""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG + OPEN) as core:
        await grant(core, "acme", 20, clock.now())
        yield core


async def placed(core: Core, clock: FakeClock, units: int, key: str | None = None) -> Hold:
    outcome = await core.holding.place(
        "acme", "chat", units, key, ms(clock.now()), seconds=600, actor=ACTOR
    )
    assert isinstance(outcome, Hold), outcome
    return outcome


async def captured(
    core: Core, clock: FakeClock, hold: Hold, units: int | None = None, *, final: bool = True
) -> Hold:
    outcome = await core.holding.capture(
        whose("acme", hold.id, clock.now()), units=units, final=final
    )
    assert isinstance(outcome, Hold), outcome
    return outcome


async def test_what_is_held_counts_at_once_and_is_shown_apart(
    built: Core, clock: FakeClock
) -> None:
    await placed(built, clock, 8)
    assert await standing(built, "acme", clock.now()) == [(0, 3), (0, 8)]
    after = await books(built, "acme")
    assert (after.available, after.held, after.spent) == (10, 10, 0)
    refused = await built.gate.consume("acme", "chat", 6, None, ms(clock.now()))
    assert isinstance(refused, Denied)
    assert isinstance(
        await built.gate.consume("acme", "chat", 5, None, ms(clock.now())), Consumption
    )
    await agree(built, "acme", clock.now())


async def test_parts_are_taken_included_units_first_and_the_rest_goes_back(
    built: Core, clock: FakeClock
) -> None:
    hold = await placed(built, clock, 8)
    seen = []
    for units, final in ((2, False), (3, False), (1, True)):
        await captured(built, clock, hold, units, final=final)
        after = await books(built, "acme")
        seen.append((await standing(built, "acme", clock.now()), after.held, after.spent))
    assert seen == [
        ([(2, 1), (2, 6)], 10, 0),
        ([(3, 0), (5, 3)], 6, 4),
        ([(3, 0), (6, 0)], 0, 6),
    ]
    assert (await books(built, "acme")).available == 14
    await agree(built, "acme", clock.now())


async def test_more_than_is_held_is_taken_only_where_it_fits(built: Core, clock: FakeClock) -> None:
    hold = await placed(built, clock, 8)
    which = whose("acme", hold.id, clock.now(), "k")
    assert isinstance(await built.holding.capture(which, units=14), Denied)
    assert await standing(built, "acme", clock.now()) == [(0, 3), (0, 8)]
    for replayed in (False, True):
        done = await built.holding.capture(which, units=13)
        assert isinstance(done, Hold)
        assert (done.replayed, done.record.state) == (replayed, HoldState.CAPTURED)
        assert done.extra is not None
    assert await standing(built, "acme", clock.now()) == [(3, 0), (13, 0)]
    assert (await books(built, "acme")).spent == 20
    await agree(built, "acme", clock.now())


@pytest.mark.parametrize("end", ["capture", "void", "expire"])
async def test_a_hold_ends_once_and_says_so_afterwards(
    built: Core, clock: FakeClock, end: str
) -> None:
    hold = await placed(built, clock, 5, "place")
    which = whose("acme", hold.id, clock.now(), "end")
    if end == "expire":
        clock.advance(seconds=600)
        await work(built, clock.now())
    else:
        asked = built.holding.capture if end == "capture" else built.holding.void
        first, again = await asked(which), await asked(which)
        assert isinstance(first, Hold)
        assert isinstance(again, Hold)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.record == first.record
    late = whose("acme", hold.id, clock.now())
    for steps in (
        built.holding.capture(late),
        built.holding.void(late),
        built.holding.extend(late, 900),
    ):
        with pytest.raises(HoldClosed):
            await steps
    assert (await placed(built, clock, 5, "place")).id == hold.id
    after = await books(built, "acme")
    taken = end == "capture"
    assert (after.units, after.held, after.spent) == (5 * taken, 0, 4 * taken)
    await agree(built, "acme", clock.now())


async def test_an_extension_is_later_and_keeps_what_is_held(built: Core, clock: FakeClock) -> None:
    hold = await placed(built, clock, 5)
    with pytest.raises(InvalidInput):
        await built.holding.extend(whose("acme", hold.id, clock.now()), 600)
    await built.holding.extend(whose("acme", hold.id, clock.now()), 1200)
    clock.advance(seconds=1199)
    await work(built, clock.now())
    assert await standing(built, "acme", clock.now()) == [(0, 3), (0, 5)]
    clock.advance(seconds=1)
    await work(built, clock.now())
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 0)]


async def test_a_name_stands_for_one_change_of_one_hold(built: Core, clock: FakeClock) -> None:
    one, two = await placed(built, clock, 2), await placed(built, clock, 2)
    await built.holding.void(whose("acme", one.id, clock.now(), "k"))
    with pytest.raises(IdempotencyConflict):
        await built.holding.void(whose("acme", two.id, clock.now(), "k"))
    with pytest.raises(IdempotencyConflict):
        await built.holding.capture(whose("acme", one.id, clock.now(), "k"))
    await placed(built, clock, 2, "p")
    with pytest.raises(IdempotencyConflict):
        await placed(built, clock, 3, "p")


async def test_another_customers_hold_is_unknown(built: Core, clock: FakeClock) -> None:
    hold = await placed(built, clock, 2)
    await built.changes.upsert_customer(CustomerInput("globex"), clock.now(), ACTOR)
    with pytest.raises(NotFound):
        await built.holding.void(whose("globex", hold.id, clock.now()))


async def test_a_hold_placed_without_any_limit_is_known_to_limits_that_come(
    built: Core, clock: FakeClock
) -> None:
    await subscribe(built, "acme", "open", clock.now())
    hold = await placed(built, clock, 5)
    await subscribe(built, "acme", "free", clock.now())
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 5)]
    await agree(built, "acme", clock.now())
    await captured(built, clock, hold, 1, final=False)
    assert await standing(built, "acme", clock.now()) == [(0, 0), (1, 4)]
    await captured(built, clock, hold, 1)
    assert await standing(built, "acme", clock.now()) == [(0, 0), (2, 0)]
    await agree(built, "acme", clock.now())
