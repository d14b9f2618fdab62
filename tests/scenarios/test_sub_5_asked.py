"""SUB-5, asked by the customer: limits rise at once, usage is kept, Stripe prorates."""

from tests.support.clock import FakeClock
from tests.support.dealing import dealing
from tests.support.scene import used


async def test_an_upgrade_now_is_prorated_and_keeps_what_was_used(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        bought = await deal.subscribe("starter")
        await deal.consume("tx_post", 300)
        assert (await deal.consume("tx_post")).status_code == 402
        deal.stripe.advance(days=15.5)
        await deal.done("changePlan", plan="pro")
        await deal.hear()
        assert await deal.limit("tx_post") == 3000
        assert await used(deal.core, "tx_post", clock.now()) == [300]
        assert (await deal.consume("tx_post")).status_code == 200
        invoice = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
        assert (invoice["status"], invoice["amount_paid"]) == ("paid", 2500)


async def test_a_change_at_the_period_s_end_happens_there(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("pro")
        deal.stripe.advance(days=10)
        await deal.done("changePlan", plan="starter", when="PERIOD_END")
        await deal.hear()
        assert await deal.plan() == "pro"
        deal.stripe.advance(days=22)
        await deal.hear()
        assert await deal.plan() == "starter"


async def test_a_change_at_the_period_s_end_can_be_taken_back(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("pro")
        await deal.done("changePlan", plan="starter", when="PERIOD_END")
        await deal.done("resumeSubscription")
        deal.stripe.advance(days=32)
        await deal.hear()
        assert await deal.plan() == "pro"
