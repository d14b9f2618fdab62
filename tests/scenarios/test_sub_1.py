"""SUB-1: active at Stripe but not here, or the reverse.

| what happens                                  | here     | sync says        | afterwards |
|-----------------------------------------------|----------|------------------|------------|
| acme subscribes, and every event is lost      | free     | missing          | starter    |
| acme cancels at Stripe, and every event is lost | starter | changed: status | free       |
"""

from tests.support.clock import FakeClock
from tests.support.reconciling import paired


async def test_whichever_side_missed_it_sync_heals_one_customer_and_reports_the_difference(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await both.subscribe("acme")
        both.stripe.webhooks.drop("*")
        both.desk.clock.advance(minutes=5)
        assert await both.desk.plan("acme") == "free"

        # The provider's customer was never introduced here: it is found there by name.
        dry = await both.sync("acme", execute=False)
        await both.desk.work()
        assert [(d.kind.value, d.subscription_id) for d in dry.differences] == [("missing", sub)]
        assert await both.desk.plan("acme") == "free"

        assert (await both.sync("acme")).differing == 1
        await both.desk.work()
        assert await both.desk.plan("acme") == "starter"
        assert (await both.sync("acme")).differing == 0

        await both.cancel(sub)
        both.stripe.webhooks.drop("*")
        both.desk.clock.advance(minutes=5)
        report = await both.sync("acme")
        [found] = report.differences
        assert ("status", "active", "canceled") in found.fields
        await both.desk.work()
        assert await both.desk.plan("acme") == "free"
        assert (await both.sync("acme")).differing == 0
