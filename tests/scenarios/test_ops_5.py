"""OPS-5: daily and weekly reconciliation with Stripe: counts, sums, gaps.

| what happens                            | what the pass says                     | afterwards |
|-----------------------------------------|----------------------------------------|------------|
| a day of lost events                    | counts and sums of both sides differ   | healed     |
| the day after                           | they agree                             |            |
| Stripe is out                           | an alert: the pass was not ended       |            |
"""

from datetime import timedelta

from api.billing.scheduled_passes import ScheduledPasses
from api.worker.comparing import Comparing
from api.worker.turns import take_turns
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired


async def a_turn(both: Pair) -> int:
    """Let a worker take what turns are due."""
    database = both.desk.core.database
    comparing = Comparing(ScheduledPasses(database, both.compare), both.queue)
    done = await take_turns(database, both.desk.clock, comparing.turns())
    await both.desk.work()
    return done


async def test_each_day_counts_and_sums_are_compared_and_what_differs_is_healed(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, customers=("acme", "bolt")) as both:
        assert await a_turn(both) == 2
        await both.subscribe("acme")
        await both.hear()
        await both.subscribe("bolt", "pro_monthly")
        both.stripe.webhooks.drop("*")
        assert await a_turn(both) == 0
        both.desk.clock.advance(days=1)
        assert await a_turn(both) == 1
        counts = (await both.compare.runs(1))[0]["counts"]
        assert counts["provider:mrr:usd"] == 14_800
        assert counts["here:mrr:usd"] == 4_900
        assert (counts["provider:active"], counts["here:active"]) == (2, 1)
        assert counts["missing"] == 1
        assert await both.desk.plan("bolt") == "pro"

        both.desk.clock.advance(days=7)
        assert await a_turn(both) == 2
        for run in await both.compare.runs(2):
            assert run["finished_at"] - run["started_at"] < timedelta(minutes=1)
            assert run["counts"]["here:mrr:usd"] == run["counts"]["provider:mrr:usd"] == 14_800
            assert "missing" not in run["counts"]


async def test_a_pass_that_stripe_does_not_answer_raises_an_alert_and_is_on_record(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        both.stripe.faults.outage = True
        await a_turn(both)
        kinds = {kind for kind, _ in await both.alerts()}
        assert kinds == {"reconciliation_failed"}
        assert "did not answer" in (await both.compare.runs(1))[0]["error"]
