"""WH-9: an event type that nobody handles is acknowledged and marked ignored."""

import pytest

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import customer, event


@pytest.mark.parametrize("event_type", ["customer.updated", "payment_intent.succeeded", "made.up"])
async def test_a_type_that_nobody_handles_is_acknowledged_and_ignored(
    database_url: str, redis_url: str, clock: FakeClock, event_type: str
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        told = event(event_type, customer("cus_1"), clock.now(), event_id="evt_1")
        assert (await books.deliver(told)).status_code == 200
        seen = await books.event(told)
        assert (seen["state"], seen["attempts"], seen["error"]) == ("IGNORED", 0, None)
        assert await books.work() == 0
        assert books.stripe.requests == []
