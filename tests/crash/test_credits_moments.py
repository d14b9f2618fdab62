"""A process that dies at any line between counters and record, and stores that forget meanwhile.

Whoever asks again under the same name, of any process, is answered once and charged once. Where
nobody does, what was counted for nothing comes back at its deadline, once, and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from api.domain.errors import Unavailable
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from tests.support.clock import FakeClock
from tests.support.dying import DyingScene as Scene
from tests.support.dying import dying_scene
from tests.support.spending import (
    Books,
    agree,
    books,
    drain,
    grant,
    newcomer,
    standing,
    whose,
    work,
)

_keys = count(1)


@pytest.fixture
async def scene(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Scene]:
    async with dying_scene(database_url, redis_url, clock) as made:
        yield made


Steps = Callable[[Scene], Awaitable[None]]


async def nothing(_: Scene) -> None:
    return


async def drained(scene: Scene) -> None:
    await drain(scene.other)


async def flushed(scene: Scene) -> None:
    await scene.flush()


async def drained_and_flushed(scene: Scene) -> None:
    await drain(scene.other)
    await scene.flush()


async def voided(scene: Scene) -> None:
    await scene.wait_out()


async def voided_and_flushed(scene: Scene) -> None:
    await scene.wait_out()
    await scene.flush()


MEANWHILE: tuple[Steps, ...] = (
    nothing,
    drained,
    flushed,
    drained_and_flushed,
    voided,
    voided_and_flushed,
)


def no_counters(scene: Scene) -> None:
    scene.counters.cut()


def counted_unheard(scene: Scene) -> None:
    scene.counters.lose_replies(2)


def undecided(scene: Scene) -> None:
    scene.record.refuse("credits_charge", 2)


def decided_unheard(scene: Scene) -> None:
    scene.record.lose("credits_charge", 2)


MOMENTS = (no_counters, counted_unheard, undecided, decided_unheard)
AT = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
TAKEN = Books(units=5, charged=2, available=16, held=0, spent=4, operations=1)
HELD = Books(units=5, charged=2, available=16, held=4, spent=0, operations=1)


def forgotten(moment: Callable[[Scene], None], meanwhile: Steps) -> bool:
    """Tell whether units stay pending of which nobody knows the name any more."""
    return moment in {counted_unheard, undecided} and meanwhile is drained_and_flushed


NOTHING = Books(units=0, charged=0, available=20, held=0, spent=0, operations=0)


@AT
async def test_a_consumption_that_died_is_answered_once_and_charged_once(
    scene: Scene, moment: Callable[[Scene], None]
) -> None:
    for meanwhile in MEANWHILE:
        customer = await newcomer(scene.other, 20, scene.clock.now())
        key = f"k{next(_keys)}"
        await standing(scene.dying, customer, scene.clock.now())
        moment(scene)
        with pytest.raises(Unavailable):
            await scene.consume(scene.dying, customer, key)
        await scene.mend()
        await meanwhile(scene)
        first = await scene.consume(scene.other, customer, key)
        assert isinstance(first, Consumption)
        assert first.replayed is (moment is decided_unheard)
        assert first.funding is not None
        taken = TAKEN
        if forgotten(moment, meanwhile):
            # The name went with the store, the included units come back at the deadline only.
            taken = Books(units=5, charged=5, available=10, held=0, spent=10, operations=1)
        assert first.funding.credits == taken.spent
        for core in (scene.dying, scene.other):
            again = await scene.consume(core, customer, key)
            assert isinstance(again, Consumption)
            assert (again.id, again.funding, again.replayed) == (first.id, first.funding, True)
        await scene.wait_out()
        assert await books(scene.other, customer) == taken
        included = taken.units - taken.charged
        assert await standing(scene.other, customer, scene.clock.now()) == [(included, 0), (5, 0)]
        await agree(scene.other, customer, scene.clock.now())


@AT
async def test_what_nobody_asks_again_counts_until_its_deadline_and_never_after(
    scene: Scene, moment: Callable[[Scene], None]
) -> None:
    for meanwhile in MEANWHILE[:4]:
        customer = await newcomer(scene.other, 20, scene.clock.now())
        for key in (None, f"k{next(_keys)}"):
            await standing(scene.dying, customer, scene.clock.now())
            moment(scene)
            with pytest.raises(Unavailable):
                await scene.consume(scene.dying, customer, key)
            await scene.mend()
        await meanwhile(scene)
        await scene.wait_out()
        done = moment is decided_unheard
        expected = Books(10, 7, 6, 0, 14, 2) if done else NOTHING
        assert await books(scene.other, customer) == expected
        left = [(3, 0), (10, 0)] if done else [(0, 0), (0, 0)]
        assert await standing(scene.other, customer, scene.clock.now()) == left
        await agree(scene.other, customer, scene.clock.now())


async def test_a_pending_attempt_counts_up_to_its_deadline(scene: Scene) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    undecided(scene)
    with pytest.raises(Unavailable):
        await scene.consume(scene.dying, customer, None)
    began = scene.clock.now()
    while scene.clock.now() < began + timedelta(minutes=2):
        await work(scene.other, scene.clock.now())
        assert await standing(scene.other, customer, scene.clock.now()) == [(3, 0), (5, 0)]
        await agree(scene.other, customer, scene.clock.now(), pending=1)
        scene.clock.advance(seconds=40)
    await work(scene.other, scene.clock.now())
    assert await standing(scene.other, customer, scene.clock.now()) == [(0, 0), (0, 0)]
    await agree(scene.other, customer, scene.clock.now())


@AT
async def test_a_hold_that_died_while_it_was_placed_stands_once(
    scene: Scene, moment: Callable[[Scene], None]
) -> None:
    for meanwhile in MEANWHILE:
        customer = await newcomer(scene.other, 20, scene.clock.now())
        key = f"k{next(_keys)}"
        await standing(scene.dying, customer, scene.clock.now())
        moment(scene)
        with pytest.raises(Unavailable):
            await scene.hold(scene.dying, customer, key)
        await scene.mend()
        await meanwhile(scene)
        first = await scene.hold(scene.other, customer, key)
        assert isinstance(first, Hold)
        assert first.replayed is (moment is decided_unheard)
        again = await scene.hold(scene.dying, customer, key)
        assert isinstance(again, Hold)
        assert (again.id, again.funding, again.replayed) == (first.id, first.funding, True)
        await scene.wait_out()
        included, cost = (0, 10) if forgotten(moment, meanwhile) else (3, 4)
        placed = Books(5, 5 - included, 20 - cost, cost, 0, 1)
        assert await books(scene.other, customer) == placed
        assert await standing(scene.other, customer, scene.clock.now()) == [(0, included), (0, 5)]
        await agree(scene.other, customer, scene.clock.now())
        done = await scene.other.holding.capture(whose(customer, first.id, scene.clock.now()))
        assert isinstance(done, Hold)
        assert await books(scene.other, customer) == replace(placed, held=0, spent=cost)
        assert await standing(scene.other, customer, scene.clock.now()) == [(included, 0), (5, 0)]
        await agree(scene.other, customer, scene.clock.now())


@AT
async def test_a_hold_that_nobody_asks_for_again_ends_at_its_time(
    scene: Scene, moment: Callable[[Scene], None]
) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    await standing(scene.dying, customer, scene.clock.now())
    moment(scene)
    with pytest.raises(Unavailable):
        await scene.hold(scene.dying, customer, None)
    await scene.mend()
    await scene.wait_out()
    stands = moment is decided_unheard
    assert await books(scene.other, customer) == (HELD if stands else NOTHING)
    await agree(scene.other, customer, scene.clock.now())
    scene.clock.advance(hours=1)
    await work(scene.other, scene.clock.now())
    after = await books(scene.other, customer)
    assert (after.units, after.available, after.held, after.spent) == (0, 20, 0, 0)
    assert await standing(scene.other, customer, scene.clock.now()) == [(0, 0), (0, 0)]
    await agree(scene.other, customer, scene.clock.now())


@pytest.mark.parametrize("moment", [undecided, decided_unheard], ids=lambda m: m.__name__)
@pytest.mark.parametrize("known", [False, True], ids=["first seen", "seen before"])
async def test_what_no_counter_counts_is_charged_once(
    scene: Scene, moment: Callable[[Scene], None], *, known: bool
) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    if known:
        await grant(scene.other, customer, 5, scene.clock.now())
        await scene.consume(scene.dying, customer, None, 1, "claim")
    moment(scene)
    with pytest.raises(Unavailable):
        await scene.consume(scene.dying, customer, "k", 2, "claim")
    for replayed in (moment is decided_unheard, True):
        done = await scene.consume(scene.other, customer, "k", 2, "claim")
        assert isinstance(done, Consumption)
        assert done.replayed is replayed
    done = await scene.consume(scene.dying, customer, "k", 2, "claim")
    assert isinstance(done, Consumption)
    assert done.replayed
    after = await books(scene.other, customer, "claim")
    assert (after.available, after.units) == (10, 2 + known)
    await agree(scene.other, customer, scene.clock.now())


@pytest.mark.parametrize("held", [False, True], ids=["consume", "hold"])
@pytest.mark.parametrize("lost", ["unsent", "unheard"])
async def test_a_refusal_that_could_not_be_taken_back_ends_at_its_deadline(
    scene: Scene, lost: str, *, held: bool
) -> None:
    for meanwhile in MEANWHILE:
        customer = await newcomer(scene.other, 3, scene.clock.now())
        await standing(scene.dying, customer, scene.clock.now())
        key = f"k{next(_keys)}"
        take = scene.hold if held else scene.consume
        async with scene.record.pause("credits_charge") as reached:
            asked = asyncio.create_task(take(scene.dying, customer, key))
            await reached.wait()
            if lost == "unsent":
                scene.counters.cut()
            else:
                scene.counters.lose_replies(1)
        with suppress(Unavailable):
            assert isinstance(await asked, Denied)
        await scene.mend()
        await meanwhile(scene)
        assert isinstance(await take(scene.other, customer, key), Denied)
        await grant(scene.other, customer, 17, scene.clock.now())
        outcome = await take(scene.other, customer, key)
        assert isinstance(outcome, Consumption | Hold)
        assert not outcome.replayed
        await scene.wait_out()
        cost = 10 if lost == "unsent" and forgotten(undecided, meanwhile) else 4
        assert await books(scene.other, customer) == Books(
            5, cost // 2, 20 - cost, cost if held else 0, 0 if held else cost, 1
        )
        await agree(scene.other, customer, scene.clock.now())


@pytest.mark.parametrize("held", [False, True], ids=["consume", "hold"])
@pytest.mark.parametrize("noticed", [False, True], ids=["unnoticed", "noticed"])
async def test_a_store_that_forgets_between_counting_and_decision_loses_nothing(
    scene: Scene, *, noticed: bool, held: bool
) -> None:
    for recorded in (False, True):
        customer = await newcomer(scene.other, 20, scene.clock.now())
        take = scene.hold if held else scene.consume
        await standing(scene.dying, customer, scene.clock.now())
        async with scene.record.pause("credits_charge") as reached:
            asked = asyncio.create_task(take(scene.dying, customer, "k"))
            await reached.wait()
            if recorded:
                await drain(scene.other)
            await scene.flush()
            if noticed:
                await standing(scene.other, customer, scene.clock.now())
        outcome = await asked
        assert isinstance(outcome, Consumption | Hold)
        assert not outcome.replayed
        await scene.wait_out()
        expected = HELD if held else TAKEN
        assert await books(scene.other, customer) == expected
        again = await take(scene.other, customer, "k")
        assert isinstance(again, Consumption | Hold)
        assert again.replayed
        await agree(scene.other, customer, scene.clock.now())


@pytest.mark.parametrize("held", [False, True], ids=["consume", "hold"])
async def test_a_decision_later_than_its_deadline_is_made_anew(scene: Scene, *, held: bool) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    await standing(scene.dying, customer, scene.clock.now())
    take = scene.hold if held else scene.consume
    async with scene.record.pause("credits_charge") as reached:
        asked = asyncio.create_task(take(scene.dying, customer, None))
        await reached.wait()
        await scene.wait_out()
    assert isinstance(await asked, Consumption | Hold)
    assert await books(scene.other, customer) == (HELD if held else TAKEN)
    await scene.wait_out()
    assert await books(scene.other, customer) == (HELD if held else TAKEN)
    await agree(scene.other, customer, scene.clock.now())


async def test_a_caller_that_goes_away_is_charged_all_or_nothing(scene: Scene) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    await standing(scene.dying, customer, scene.clock.now())
    async with scene.record.pause("credits_charge") as reached:
        asked = asyncio.create_task(scene.consume(scene.dying, customer, "k"))
        await reached.wait()
        asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    outcome = await scene.consume(scene.other, customer, "k")
    assert isinstance(outcome, Consumption)
    await scene.wait_out()
    assert await books(scene.other, customer) == TAKEN
    await agree(scene.other, customer, scene.clock.now())
