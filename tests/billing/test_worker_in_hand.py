"""What a worker has in hand: it takes what there is room for, and gives it back when it stops."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.billing.looks import Look, look
from api.billing.worker import MOST_AT_ONCE, InboxWorker
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def left(deal: Dealing, *subscriptions: str) -> None:
    async with deal.core.database.transaction() as conn:
        at = deal.clock.now()
        await look(conn, "stripe", Look.SUBSCRIPTION, subscriptions, at, soon=True)


async def test_readings_that_take_long_keep_no_other_event_waiting_while_there_is_room(
    deal: Dealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = await deal.subscribe("pro")
    slow, done = asyncio.Event(), asyncio.Event()
    read = type(deal.door).subscription

    async def waiting(door: Any, name: str) -> object:  # noqa: ANN401 - the door itself
        if name != bought:
            await slow.wait()
        return await read(door, bought)

    monkeypatch.setattr(type(deal.door), "subscription", waiting)
    await left(deal, *(f"sub_slow{n}" for n in range(MOST_AT_ONCE // 2 + 1)))
    assert await deal.worker.begin(deal.clock.now()) == MOST_AT_ONCE // 2 + 1
    await left(deal, bought)
    assert await deal.worker.begin(deal.clock.now(), done.set) == 1
    await deal.worker.stop()


async def test_what_was_in_hand_of_a_worker_that_stops_is_due_at_once_as_if_never_tried(
    deal: Dealing,
) -> None:
    await deal.subscribe("starter")
    await deal.done("changePlan", plan="pro")
    assert await deal.worker.begin(deal.clock.now()) > 0
    await deal.worker.stop()
    assert await deal.core.database.fetchval("select count(*) from provider_locks") == 0
    tried = "select sum(attempts) from webhook_events where state = 'pending'"
    assert await deal.core.database.fetchval(tried) == 0

    core = deal.core
    other = InboxWorker(core.database, deal.door, core.changes, core.revisions)
    assert await other.run_once(deal.clock.now()) > 0
    assert await deal.plan() == "pro"


async def test_what_another_took_over_meanwhile_is_not_given_back(
    deal: Dealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = await deal.subscribe("pro")
    reading = asyncio.Event()

    async def waiting(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(type(deal.door), "subscription", waiting)
    await left(deal, bought)
    await deal.worker.begin(deal.clock.now())
    await asyncio.wait_for(reading.wait(), 5)
    await deal.core.database.execute("update provider_locks set token = gen_random_uuid()")
    await deal.worker.stop()
    assert await deal.core.database.fetchval("select count(*) from provider_locks") == 1
    tried = "select attempts from webhook_events where state = 'pending'"
    assert await deal.core.database.fetchval(tried) == 1
