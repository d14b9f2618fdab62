"""SUB-7: cancelled at period end or now, resumed before the end, subscribed again after it.

Entitlements follow. How the cancellation is asked for belongs to the issue of whole Stripe.
"""

from datetime import timedelta

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life


async def test_a_cancellation_at_period_end_keeps_the_plan_until_then(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        begun = clock.now()
        await books.tell(life.created("active"), life=life)
        clock.advance(days=5)
        await books.tell(life.later(days=5).ends_at_period_end(), life=life)
        [held] = (await books.customer())["subscriptions"]
        assert held["cancelAtPeriodEnd"]
        assert await books.plan() == "starter"
        clock.set(begun + timedelta(days=31) - timedelta(seconds=1))
        assert (await books.consume("tx_post")).status_code == 200

        # Access ends in that second, with or without an event; the event changes nothing more.
        clock.advance(seconds=1)
        assert (await books.consume("tx_post")).status_code == 402
        assert await books.plan() == "free"
        await books.tell(life.later(days=26).deleted(), life=life)
        assert await books.plan() == "free"


async def test_a_cancellation_now_takes_the_plan_now(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life=life)
        await books.tell(life.later(days=1).deleted(), life=life)
        assert await books.plan() == "free"
        assert (await books.consume("tx_post")).status_code == 402
        assert (await books.consume("tx_analyze")).status_code == 200


async def test_resumed_before_the_end_it_goes_on_past_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life=life)
        await books.tell(life.later(days=5).ends_at_period_end(), life=life)
        await books.tell(life.later(days=5).goes_on(), life=life)
        await books.tell(life.later(days=21).renewed(), life=life)
        clock.advance(days=45)
        assert await books.plan() == "starter"
        assert (await books.consume("tx_post")).status_code == 200


async def test_subscribed_again_after_the_end_it_begins_anew(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        first = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(first.created("active"), life=first)
        await books.tell(first.later(days=1).deleted(), life=first)
        clock.advance(days=2)
        second = Life("acme", clock.now(), named=True, prices={"pro": 1})
        second.subscription_id = second.state["id"] = "sub_second"
        told = second.created("active") | {"id": "evt_second"}
        await books.tell(told, life=second)
        assert await books.plan() == "pro"
        # A straggler of the first life does not touch the second.
        await books.tell(first.later(days=3).deleted(), life=first)
        assert await books.plan() == "pro"
        statuses = [one["status"] for one in (await books.customer())["subscriptions"]]
        assert statuses == ["CANCELED", "ACTIVE"]


async def test_a_paused_subscription_gives_the_free_plan_until_it_is_resumed(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life=life)
        await books.tell(life.later(days=1).paused(), life=life)
        assert await books.plan() == "free"
        await books.tell(life.later(days=1).resumed(), life=life)
        assert await books.plan() == "starter"
