"""A retry, or a name used anew, long after a call that was never decided or never answered."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from api.domain.errors import InvalidInput, Unavailable
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.dying import dying_scene
from tests.support.gate import ms, opened
from tests.support.spending import (
    ACTOR,
    CATALOG,
    agree,
    books,
    drain,
    grant,
    newcomer,
    standing,
    work,
)

UNCAPPED = CATALOG.replace("chat.year = 40\n", "")
DEAREST = 2**53 - 1
PLACED: dict[str, Any] = {"seconds": 30, "actor": ACTOR}


@pytest.mark.parametrize("act", ["consume", "hold"])
async def test_what_can_never_be_paid_leaves_nothing_counted(
    database_url: str, redis_url: str, clock: FakeClock, act: str
) -> None:
    async with opened(database_url, redis_url, clock, UNCAPPED) as core:
        asked: Any = (
            core.gate.consume if act == "consume" else partial(core.holding.place, **PLACED)
        )
        with pytest.raises(InvalidInput):
            await asked("acme", "chat", DEAREST, None, ms(clock.now()))
        assert await standing(core, "acme", clock.now()) == [(0, 0)]


async def place(core: Core, customer: str, clock: FakeClock) -> Hold | Denied:
    at = ms(clock.now())
    return await core.holding.place(customer, "chat", 5, "k", at, **PLACED)


async def test_credits_that_came_between_a_crash_and_the_retry_pay_for_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dying_scene(database_url, redis_url, clock) as scene:
        customer = await newcomer(scene.other, 0, clock.now())
        scene.record.refuse("credits_charge", 2)
        with pytest.raises(Unavailable):
            await scene.consume(scene.dying, customer, "k")
        clock.advance(seconds=5)
        await grant(scene.other, customer, 20, clock.now())
        clock.advance(seconds=5)
        assert isinstance(await scene.consume(scene.other, customer, "k"), Consumption)
        await work(scene.other, clock.now())
        await agree(scene.other, customer, clock.now())


async def test_a_hold_that_was_never_decided_is_placed_anew_once_its_time_is_over(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dying_scene(database_url, redis_url, clock) as scene:
        customer = await newcomer(scene.other, 20, clock.now())
        scene.record.refuse("credits_charge", 2)
        with pytest.raises(Unavailable):
            await place(scene.dying, customer, clock)
        clock.advance(seconds=30)
        held = await place(scene.other, customer, clock)
        assert isinstance(held, Hold)
        assert held.record.expires_at > clock.now()
        await drain(scene.other)
        month, year = await standing(scene.other, customer, clock.now())
        assert (month, year) == ((0, 3), (0, 5))
        await agree(scene.other, customer, clock.now())


async def test_a_name_used_anew_leaves_what_it_named_before_decided(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    brief = CATALOG.replace("replay_seconds = 86400", "replay_seconds = 60")
    async with opened(database_url, redis_url, clock, brief) as core:
        await grant(core, "acme", 100, clock.now())
        assert isinstance(
            await core.gate.consume("acme", "chat", 5, "k", ms(clock.now())), Consumption
        )
        # As a drainer leaves it that read the journal while the decision was not yet visible.
        await core.database.execute(
            "insert into credit_pending (customer_id, attempt_id, at, deadline, feature_ids, units,"
            " charged) select o.customer_id, o.attempt_id, o.at, o.at + interval '2 minutes',"
            " array[e.feature_id], array[e.units], array[e.charged] from credit_operations o"
            " join usage_events e on e.customer_id = o.customer_id"
            " and e.operation_id = o.attempt_id and e.at = o.at"
        )
        clock.advance(seconds=61)
        again = await core.gate.consume("acme", "chat", 5, "k", ms(clock.now()))
        assert isinstance(again, Consumption)
        assert not again.replayed
        before = await books(core, "acme")
        clock.advance(seconds=200)
        await work(core, clock.now())
        assert await books(core, "acme") == before
        assert (before.units, before.charged) == (10, 7)
        await agree(core, "acme", clock.now())
