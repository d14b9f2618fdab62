"""SUB-4: a paid checkout, and the customer sees it as soon as the event has come.

The server's worker runs beside it and, here, never looks by itself: what wakes it is the event.
That a missed event is caught belongs to WH-7.
"""

import pytest

from api.worker import work
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life
from tests.support.waiting import eventually


@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_a_paid_checkout_gives_the_plan_without_anybody_asking(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    *,
    reads: bool,
) -> None:
    monkeypatch.setattr(work, "WEBHOOK_SECONDS", 3600)
    async with paying(database_url, redis_url, clock, reads=reads) as books, books.working():
        assert (await books.consume("tx_post")).status_code == 402
        life = Life("acme", clock.now(), prices={"starter": 1})
        events = [life.created(), life.checked_out(), life.became("active")]
        books.stripe.holds(life)
        for told in events:
            assert (await books.deliver(told)).status_code == 200

        async def passes() -> bool:
            return (await books.consume("tx_post")).status_code == 200

        await eventually(passes, patience_seconds=10)
        assert await books.plan() == "starter"
        assert await books.limit("tx_post") == 300
