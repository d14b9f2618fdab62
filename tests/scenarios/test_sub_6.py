"""SUB-6: a downgrade with more in use than the new plan allows, now or as the period ends.

| when           | what is known                    | what is done                            |
|----------------|----------------------------------|-----------------------------------------|
| now            | the preview says what is over    | nothing is deleted, new ones are refused |
| the period ends | `pendingPlan` says when         | the same, from that instant on          |
| before it ends | it is resumed                    | the plan stays                          |
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import dealing

PREVIEW = """
query ($plan: String!) {
  previewPlanChange(input: {plan: $plan}) {
    currency dueNowMinor nextAmountMinor over { feature window used limit }
  }
}
"""


async def test_a_downgrade_is_previewed_and_takes_nothing_away(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("firm")
        assert (await deal.consume("companies", 7)).status_code == 200
        assert (await deal.consume("tx_post", 400)).status_code == 200

        said = (await deal.post(PREVIEW, plan="starter"))["data"]["previewPlanChange"]
        assert said["currency"] == "usd"
        assert said["dueNowMinor"] == 4900 - 29900
        assert said["nextAmountMinor"] == 4900
        assert sorted(said["over"], key=lambda one: one["feature"]) == [
            {"feature": "companies", "window": "LIFETIME", "used": 7, "limit": 1},
            {"feature": "tx_post", "window": "MONTH", "used": 400, "limit": 300},
        ]
        up = (await deal.post(PREVIEW, plan="firm"))["data"]["previewPlanChange"]
        assert up["over"] == []

        await deal.done("changePlan", plan="starter")
        await deal.hear()
        assert await deal.plan() == "starter"
        refused = await deal.consume("companies")
        assert (refused.status_code, refused.json()["used"]) == (402, 7)
        assert refused.json()["code"] == "ALLOCATION_EXCEEDED"


@pytest.mark.parametrize("resumed", [False, True], ids=["it comes", "resumed"])
async def test_a_downgrade_waits_for_the_end_of_the_period(
    database_url: str, redis_url: str, clock: FakeClock, *, resumed: bool
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        await deal.subscribe("firm")
        assert (await deal.consume("companies", 7)).status_code == 200
        await deal.done("changePlan", plan="starter", when="PERIOD_END")
        await deal.hear()
        [held] = (await deal.standing())["subscriptions"]
        assert held["pendingPlan"] == {"key": "starter"}
        assert (await deal.consume("companies")).status_code == 200
        if resumed:
            await deal.done("resumeSubscription")
            await deal.hear()

        deal.stripe.advance(days=31)
        await deal.hear()
        [held] = (await deal.standing())["subscriptions"]
        assert held["pendingPlan"] is None
        assert await deal.plan() == ("firm" if resumed else "starter")
        assert (await deal.consume("companies")).status_code == (200 if resumed else 402)
