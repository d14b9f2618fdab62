"""A process that dies while it captures more than was held.

What is more is taken together with the closing of the hold, or not at all, also where the plan
includes it and no credit is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.domain.errors import Unavailable
from api.gates.held import Hold
from tests.support.clock import FakeClock
from tests.support.dying import DyingScene, dying_scene
from tests.support.spending import agree, books, newcomer, standing, whose, work


def counted_unheard(scene: DyingScene) -> None:
    scene.counters.lose_replies(2)


def undecided(scene: DyingScene) -> None:
    scene.record.refuse("credits_charge", 2)


def uncommitted(scene: DyingScene) -> None:
    scene.record.refuse("COMMIT;", 1)


@pytest.mark.parametrize("more", [1, 4], ids=["included", "partly_paid"])
@pytest.mark.parametrize("moment", [counted_unheard, undecided, uncommitted])
async def test_a_capture_of_more_that_died_leaves_the_hold_and_nothing_else(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    moment: Callable[[DyingScene], None],
    more: int,
) -> None:
    async with dying_scene(database_url, redis_url, clock) as scene:
        customer = await newcomer(scene.other, 20, clock.now())
        held = await scene.hold(scene.dying, customer, None, 2)
        assert isinstance(held, Hold)
        moment(scene)
        asked = whose(customer, held.id, clock.now(), "more")
        with pytest.raises(Unavailable):
            await scene.dying.holding.capture(asked, units=2 + more)
        await scene.mend()
        await scene.wait_out()
        month, year = await standing(scene.other, customer, clock.now())
        assert (month, year) == ((0, 2), (0, 2))
        await agree(scene.other, customer, clock.now())

        again = await scene.other.holding.capture(asked, units=2 + more)
        assert isinstance(again, Hold)
        paid = max(0, more - 1)
        month, year = await standing(scene.other, customer, clock.now())
        assert (month, year) == ((2 + more - paid, 0), (2 + more, 0))
        told = await books(scene.other, customer)
        assert (told.units, told.charged, told.spent) == (2 + more, paid, 2 * paid)
        await agree(scene.other, customer, clock.now())


async def test_a_capture_of_more_whose_answer_was_lost_is_answered_again_and_taken_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dying_scene(database_url, redis_url, clock) as scene:
        customer = await newcomer(scene.other, 20, clock.now())
        held = await scene.hold(scene.dying, customer, None, 2)
        assert isinstance(held, Hold)
        scene.record.lose("COMMIT;", 1)
        asked = whose(customer, held.id, clock.now(), "more")
        with pytest.raises(Unavailable):
            await scene.dying.holding.capture(asked, units=3)
        await scene.mend()
        again = await scene.other.holding.capture(asked, units=3)
        assert isinstance(again, Hold)
        assert again.replayed
        assert again.extra is not None
        # Whoever died had not told the counters; a worker does.
        await work(scene.other, clock.now())
        assert await standing(scene.other, customer, clock.now()) == [(3, 0), (3, 0)]
        assert (await books(scene.other, customer)).units == 3
