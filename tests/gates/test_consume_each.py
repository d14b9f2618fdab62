"""A batch of independent items: as many journeys as it needs, and each item as if it came alone."""

from collections.abc import AsyncIterator

import pytest

from api.domain.errors import IdempotencyConflict, InvalidInput, UnknownCustomer, UnknownFeature
from api.gates.outcome import ConsumeRequest, Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.posts]
name = "Posts"
kind = "metered"
durability = "journaled"

[plans.free]
name = "Free"
[plans.free.features]
calls = { day = 1_000, month = 10_000 }
posts.day = 2
"""
MANY = tuple(f"c{n}" for n in range(100))


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG, ("acme", *MANY)) as core:
        yield core


async def test_a_hundred_items_of_one_customer_make_one_journey(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 1, None, at)
    before = built.door.batches
    outcomes = await built.gate.consume_each([ConsumeRequest("acme", "calls")] * 100, at)
    assert built.door.batches == before + 1
    counted = [o.windows[0].used for o in outcomes if isinstance(o, Consumption)]
    assert counted == list(range(2, 102))


async def test_a_hundred_customers_make_one_journey_and_unknown_ones_are_filled_side_by_side(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    before = built.door.batches
    await built.gate.consume("acme", "calls", 1, None, at)
    alone = built.door.batches - before
    items = [ConsumeRequest(customer, "calls") for customer in MANY]
    before = built.door.batches
    outcomes = await built.gate.consume_each(items, at)
    assert all(isinstance(o, Consumption) for o in outcomes)
    assert built.door.batches - before < alone * len(MANY) / 2
    before = built.door.batches
    outcomes = await built.gate.consume_each(items, at)
    assert built.door.batches == before + built.door.servers
    assert [o.customer for o in outcomes if isinstance(o, Consumption)] == list(MANY)
    assert {o.windows[0].used for o in outcomes if isinstance(o, Consumption)} == {2}


async def test_each_item_is_answered_in_its_place_whatever_the_others_are(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    items = [
        ConsumeRequest("acme", "calls", 1, "a"),
        ConsumeRequest("acme", "calls", 1, "a"),
        ConsumeRequest("acme", "calls", 2, "a"),
        ConsumeRequest("acme", "calls", 0),
        ConsumeRequest("acme", "none"),
        ConsumeRequest("nobody", "calls"),
        ConsumeRequest("acme", "posts", 2),
        ConsumeRequest("acme", "calls", 1, "~ours"),
        ConsumeRequest("acme", "calls", 5_000),
        ConsumeRequest("acme", "calls", 1, "b"),
    ]
    for known in (False, True):
        (
            first,
            again,
            other,
            nothing,
            unknown,
            nobody,
            posted,
            ours,
            much,
            last,
        ) = await built.gate.consume_each(items, at)
        assert isinstance(first, Consumption)
        assert isinstance(again, Consumption)
        assert (first.replayed, again.replayed) == (known, True)
        assert again.id == first.id
        assert isinstance(other, IdempotencyConflict)
        assert isinstance(nothing, InvalidInput)
        assert isinstance(unknown, UnknownFeature)
        assert isinstance(nobody, UnknownCustomer)
        assert isinstance(posted, Denied if known else Consumption)
        assert isinstance(ours, InvalidInput)
        assert isinstance(much, Denied)
        assert isinstance(last, Consumption)
    windows = (await built.gate.figures("acme", ["calls"], at))["calls"]
    assert windows is not None
    assert windows[0].used == 2


async def test_a_batch_that_fails_half_way_counts_nothing(built: Core, clock: FakeClock) -> None:
    at = ms(clock.now())
    await built.gate.consume("acme", "calls", 1, None, at)
    # No door lets such a name in; here it stands for whatever nobody expected.
    items = [ConsumeRequest("acme", "calls")] * 3 + [ConsumeRequest("\ud800", "calls")]
    with pytest.raises(UnicodeEncodeError):
        await built.gate.consume_each(items, at)
    counted = await built.gate.consume("acme", "calls", 1, None, at)
    assert isinstance(counted, Consumption)
    assert counted.windows[0].used == 2
