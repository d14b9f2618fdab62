"""Looks: objects that we have read anew, by the one road that every event takes."""

import asyncio

import pytest

from api.billing.looks import Look, look
from api.billing.worker import MOST_AT_ONCE, MOST_LATER
from tests.support.billing import Desk
from tests.support.clock import FakeClock
from tests.support.reconciling import paired


async def leave(open_desk: Desk, *object_ids: str, kind: Look = Look.SUBSCRIPTION) -> None:
    async with open_desk.core.database.transaction() as conn:
        await look(conn, "stripe", kind, object_ids, open_desk.clock.now())


async def look_soon(open_desk: Desk, object_id: str) -> None:
    async with open_desk.core.database.transaction() as conn:
        at = open_desk.clock.now()
        await look(conn, "stripe", Look.SUBSCRIPTION, [object_id], at, soon=True)


async def test_a_look_has_the_object_read_and_written_as_it_is(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.webhooks.on = False
        held = await pair.subscribe("acme")
        await leave(pair.desk, held)
        assert await pair.desk.work() == 1
        assert await pair.desk.plan("acme") == "starter"
        assert await pair.desk.states() == ["applied"]
        assert await pair.desk.count("provider_locks") == 0


async def test_two_looks_that_wait_are_one_and_one_that_comes_later_is_another(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        held = await pair.subscribe("acme")
        await leave(pair.desk, held)
        await leave(pair.desk, held)
        await leave(pair.desk, held, kind=Look.INVOICE)
        assert await pair.desk.count("webhook_events") == 2
        await pair.desk.work()
        await leave(pair.desk, held)
        assert await pair.desk.count("webhook_events") == 3


async def test_a_look_waits_while_somebody_else_has_the_object(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.webhooks.on = False
        held = await pair.subscribe("acme")
        await pair.desk.core.database.execute(
            "insert into provider_locks values ('stripe', $1, gen_random_uuid(), $2)",
            held,
            clock.now().replace(hour=23),
        )
        await leave(pair.desk, held)
        assert await pair.desk.work() == 0
        assert await pair.desk.plan("acme") == "free"
        clock.advance(hours=14)
        assert await pair.desk.work() == 1
        assert await pair.desk.plan("acme") == "starter"


async def test_a_look_by_a_transaction_that_is_rolled_back_leaves_nothing(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:

        async def leaves_and_fails() -> None:
            async with pair.desk.core.database.transaction() as conn:
                await look(conn, "stripe", Look.SUBSCRIPTION, ["sub_1"], clock.now())
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await leaves_and_fails()
        assert await pair.desk.count("webhook_events") == 0
        assert await pair.desk.work() == 0


async def test_what_happens_now_goes_before_what_a_comparison_found(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    names = [f"found-{number}" for number in range(MOST_AT_ONCE)]
    async with paired(database_url, redis_url, clock, customers=["acme", *names]) as pair:
        pair.stripe.webhooks.on = False
        found = [await pair.subscribe(name) for name in names]
        await leave(pair.desk, *found)
        clock.advance(seconds=5)
        asked = await pair.subscribe("acme")
        await leave(pair.desk, asked)
        await look_soon(pair.desk, asked)
        await pair.desk.worker.run_once(clock.now())
        assert await pair.desk.plan("acme") == "starter"
        await pair.desk.work()
        assert await pair.desk.plan(names[-1]) == "starter"


async def test_what_a_comparison_found_leaves_room_for_what_happens_now(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    names = [f"found-{number}" for number in range(MOST_LATER + 1)]
    async with paired(database_url, redis_url, clock, customers=["acme", *names]) as pair:
        pair.stripe.webhooks.on = False
        found = [await pair.subscribe(name) for name in names]
        assert pair.stripe.server is not None
        held = pair.stripe.server.gate = asyncio.Event()
        await leave(pair.desk, *found)
        worker = pair.desk.worker
        assert await worker.begin(clock.now()) == MOST_LATER
        assert await worker.begin(clock.now()) == 0
        pair.stripe.server.gate = None
        asked = await pair.subscribe("acme")
        await look_soon(pair.desk, asked)
        assert await worker.begin(clock.now()) == 1
        held.set()
        await worker.run_once(clock.now())  # ends what is in hand
        await pair.desk.work()
        assert await pair.desk.plan("acme") == await pair.desk.plan(names[-1]) == "starter"
