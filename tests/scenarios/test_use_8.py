"""USE-8: a thousand callers race for the last unit.

Exactly one gets it.
"""

import asyncio
from collections import Counter

import pytest

from tests.support.clock import FakeClock
from tests.support.scene import recorded, scene, subscribe, used

CALLERS = 1_000


@pytest.mark.parametrize(
    ("feature", "before", "refusal"),
    [("tx_analyze", 499, 429), ("tx_post", 299, 402), ("companies", 0, 402)],
)
async def test_of_a_thousand_callers_for_the_last_unit_exactly_one_gets_it(
    database_url: str, redis_url: str, clock: FakeClock, feature: str, before: int, refusal: int
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        if before:
            assert (await books.consume(feature, before)).status_code == 200
        answers = await asyncio.gather(*(books.consume(feature) for _ in range(CALLERS)))
        assert Counter(a.status_code for a in answers) == {200: 1, refusal: CALLERS - 1}
        [got] = [a.json() for a in answers if a.status_code == 200]
        assert [w["remaining"] for w in got["windows"]] == [0]
        assert await used(books.core, feature, clock.now()) == [before + 1]
        await books.core.drainer.drain(range(256))
        assert await recorded(books.core, feature) == before + 1
