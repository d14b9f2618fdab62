"""SUB-7, asked for: end with the period or now, with or without money back; resume; come again."""

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import dealing


async def test_a_customer_cancels_resumes_and_comes_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("pro")
        await deal.done("cancelSubscription", idempotencyKey="end")
        await deal.work()
        [held] = (await deal.standing())["subscriptions"]
        assert (held["cancelAtPeriodEnd"], held["plan"]["key"]) == (True, "pro")

        await deal.done("resumeSubscription")
        await deal.work()
        [held] = (await deal.standing())["subscriptions"]
        assert held["cancelAtPeriodEnd"] is False

        await deal.done("cancelSubscription", idempotencyKey="end for good")
        deal.stripe.advance(days=32)
        await deal.hear()
        assert await deal.plan() == "free"
        assert (await deal.refused("resumeSubscription"))["code"] == "NOT_FOUND"

        opened = await deal.done("createCheckout", plan="starter")
        deal.stripe.checkout.complete(opened["objectId"])
        await deal.hear()
        assert await deal.plan() == "starter"
        newest = (await deal.standing())["subscriptions"][-1]
        assert newest["status"] == "ACTIVE"  # a trial is given once


@pytest.mark.parametrize(("ending", "back"), [("NOW", 0), ("NOW_PRORATED", -4950)])
async def test_support_ends_one_now(
    database_url: str, redis_url: str, clock: FakeClock, ending: str, back: int
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        bought = await deal.subscribe("pro")
        deal.stripe.advance(days=15.5)
        await deal.done(
            "cancelSubscription", as_="support", customer="acme", ending=ending, reason="a mistake"
        )
        await deal.work()
        assert await deal.plan() == "free"
        buyer = deal.stripe.get(deal.stripe.get(bought)["customer"])
        assert buyer["balance"] == back
