"""WH-5: events arrive in any order; the final state is that of the newest object.

``tests/domain/test_event_order.py`` tries every order on the rule, ``tests/billing/test_orders.py``
a thousand through the inbox; these go through the public door.
"""

import random

import pytest

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Json, Life


def story(clock: FakeClock) -> tuple[Life, list[Json]]:
    life = Life("acme", clock.now(), prices={"starter": 1})
    return life, [
        life.created(),
        life.checked_out(),
        life.became("active"),
        life.later(days=2).took(pro=1),
        life.later(days=3).became("past_due"),
        life.invoiced(paid=False),
        life.later(days=1).became("active"),
        life.later(days=1).took(firm=1, firm_addon=4),
    ]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_any_order_ends_with_the_newest_object(
    database_url: str, redis_url: str, clock: FakeClock, seed: int, *, reads: bool
) -> None:
    life, events = story(clock)
    mixed = events + events[seed : seed + 2]
    random.Random(seed).shuffle(mixed)  # noqa: S311 - a seeded order, not a secret
    async with paying(database_url, redis_url, clock, reads=reads) as books:
        books.stripe.holds(life)
        await books.tell(*mixed)
        clock.advance(seconds=2)
        await books.work()
        [held] = (await books.customer())["subscriptions"]
        assert (held["status"], held["plan"]["key"]) == ("ACTIVE", "firm")
        assert await books.limit("companies") == 14


async def test_an_older_event_never_overwrites_a_newer_one(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, reads=False) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        begun, ended = life.created("active"), life.later(days=40).deleted()
        await books.tell(ended, begun)
        assert await books.plan() == "free"
        assert (await books.event(begun))["state"] == "APPLIED"
