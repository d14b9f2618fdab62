"""SUB-13: an add-on bought adds its limits, times its quantity; dropped, it takes them away."""

import pytest

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life


@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_an_add_on_is_added_changed_and_taken_away(
    database_url: str, redis_url: str, clock: FakeClock, *, reads: bool
) -> None:
    async with paying(database_url, redis_url, clock, reads=reads) as books:
        life = Life("acme", clock.now(), named=True, prices={"firm": 1})
        await books.tell(life.created("active"), life=life)
        assert await books.limit("companies") == 10
        assert (await books.consume("companies", 10)).status_code == 200
        assert (await books.consume("companies")).status_code in {402, 403}

        await books.tell(life.later(days=1).took(firm=1, firm_addon=2), life=life)
        assert await books.limit("companies") == 12
        assert (await books.consume("companies", 2)).status_code == 200

        await books.tell(life.later(days=1).took(firm=1, firm_addon=1), life=life)
        assert await books.limit("companies") == 11

        # What is held is kept; there is only no more.
        await books.tell(life.later(days=1).took(firm=1), life=life)
        assert await books.limit("companies") == 10
        refused = await books.consume("companies")
        assert refused.json()["used"] == 12
