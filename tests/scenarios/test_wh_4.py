"""WH-4: the same event arrives twice, also at the same instant: applied once, and acknowledged."""

import asyncio

import pytest

from tests.support.clock import FakeClock
from tests.support.paying import Paying, paying
from tests.support.stripe_events import Life


async def version(books: Paying) -> int:
    return (await books.core.customers.get("acme")).version


@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_the_same_event_twice_is_applied_once(
    database_url: str, redis_url: str, clock: FakeClock, *, reads: bool
) -> None:
    async with paying(database_url, redis_url, clock, reads=reads) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        told = life.created("active")
        before = await version(books)
        await books.tell(told, life=life)
        assert await version(books) == before + 1
        assert (await books.deliver(told)).status_code == 200
        assert await books.work() == 0
        assert await version(books) == before + 1
        assert await books.plan() == "starter"


async def test_the_same_event_at_the_same_instant_is_applied_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        told = life.created("active")
        books.stripe.holds(life)
        before = await version(books)
        answers = await asyncio.gather(*(books.deliver(told) for _ in range(25)))
        assert {answer.status_code for answer in answers} == {200}
        workers = await asyncio.gather(*(books.worker.run_once(clock.now()) for _ in range(5)))
        assert sum(workers) == 1
        assert await version(books) == before + 1
        assert len((await books.customer())["subscriptions"]) == 1
