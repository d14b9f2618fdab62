"""A customer's life in a thousand orders, with repetitions: through the route, one end.

The rule itself is tried in every order in ``tests/domain/test_event_order.py``. Here the events
are real ones, signed, and each is handled before the next one comes, so that every order is met
as the worker would meet it. ``HEADROOM_TEST_ORDERS`` sets how many.
"""

import asyncio
import os
import random
from dataclasses import replace

import pytest

from api.catalog import subscriptions
from api.catalog.customers import CustomerInput
from api.domain.entitlements import entitle
from tests.support.billing import CATALOG
from tests.support.clock import FakeClock
from tests.support.paying import Paying, paying
from tests.support.stripe_events import Json, Life

ORDERS = int(os.environ.get("HEADROOM_TEST_ORDERS", "1000"))
SEED = 20260310


def life_of(key: str, clock: FakeClock) -> tuple[Life, list[Json]]:
    """Return nine events of one customer's first two months; some tell of the same second."""
    life = Life(key, clock.now())
    events = [
        life.created(),
        life.checked_out(),
        life.became("active"),
        life.later(days=3).took(starter_monthly=1, more_seats_monthly=2),
        life.later(days=28).became("past_due"),
        life.invoiced(paid=False),
        life.later(days=2).became("active"),
        life.later(days=1).took(pro_monthly=1, more_seats_monthly=5),
        life.later(days=4).ends_at_period_end(),
    ]
    return life, events


def with_an_end(key: str, clock: FakeClock) -> tuple[Life, list[Json]]:
    """Return the same life, ended in the very second of its last change."""
    life, events = life_of(key, clock)
    return life, [*events[:-1], life.took(starter_monthly=1), life.deleted()]


async def after(opened: Paying, keys: list[str]) -> dict[str, tuple[object, ...]]:
    """Return all that the record says of each customer's one subscription, but whose it is."""
    known = await opened.core.customers.by_keys(keys)
    ids = [known[key].id for key in keys]
    held = await subscriptions.by_customers(opened.core.database, ids)
    facts = await opened.core.customers.many_facts(ids)
    catalog = opened.core.revisions.newest.catalog
    found: dict[str, tuple[object, ...]] = {}
    for key, customer_id in zip(keys, ids, strict=True):
        (record,) = held[customer_id]
        rights = entitle(catalog, facts[customer_id], opened.clock.now())
        told = (record.provider_event_id or "")[-2:]
        neutral = replace(record, customer_id=0, id=0, provider_id="", provider_event_id=told)
        found[key] = (neutral, rights.plan, rights.add_ons)
    return found


def shuffled(events: list[Json], chance: random.Random) -> list[Json]:
    """Return the events in another order, and up to three of them again somewhere."""
    mixed = events + chance.choices(events, k=chance.randint(0, 3))
    chance.shuffle(mixed)
    return mixed


@pytest.mark.parametrize("story", [life_of, with_an_end])
async def test_a_thousand_orders_end_as_the_right_one(
    database_url: str, redis_url: str, clock: FakeClock, story: object
) -> None:
    assert callable(story)
    chance = random.Random(SEED)  # noqa: S311 - seeded orders, not secrets
    keys = ["ordered", *(f"order-{n}" for n in range(ORDERS // 2))]
    async with paying(database_url, redis_url, clock, catalog=CATALOG, reads=False) as opened:
        for key in keys:
            await opened.core.changes.upsert_customer(CustomerInput(key), clock.now(), "test")
        lives = {key: story(key, clock) for key in keys}
        queues = {
            key: events if key == "ordered" else shuffled(events, chance)
            for key, (_, events) in lives.items()
        }
        while any(queues.values()):
            arriving = [opened.deliver(left.pop(0)) for left in queues.values() if left]
            answers = await asyncio.gather(*arriving)
            assert {answer.status_code for answer in answers} == {200}
            await opened.work()
        for _ in range(3):  # those that waited for the checkout and missed its call
            clock.advance(seconds=2)
            await opened.work()
        states = await opened.core.database.fetch("select distinct state from webhook_events")
        assert [row["state"] for row in states] == ["applied"]
        ends = await after(opened, keys)
        assert [key for key in keys if ends[key] != ends["ordered"]] == []
