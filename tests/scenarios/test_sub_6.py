"""SUB-6: a downgrade with more in use than the new plan allows.

The preview says what is over; afterwards nothing is deleted, and new allocations are refused.
"""

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
