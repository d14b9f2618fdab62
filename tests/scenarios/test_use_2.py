"""USE-2: the 51st of 50 today on the free plan.

429 FREE_CAP_EXCEEDED with Retry-After.
"""

from tests.support.clock import FakeClock
from tests.support.scene import scene, used


async def test_the_51st_analysis_of_the_day_is_told_when_to_come_back(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        for _ in range(50):
            assert (await books.consume("tx_analyze")).status_code == 200

        clock.advance(hours=3, seconds=20)
        refused = await books.consume("tx_analyze")
        assert refused.status_code == 429
        said = refused.json()
        assert said["code"] == "FREE_CAP_EXCEEDED"
        assert (said["limit"], said["used"], said["window"]) == (50, 50, "DAY")
        assert said["resetsAt"] == "2026-03-11T00:00:00Z"
        wait = int(refused.headers["retry-after"])
        assert wait == said["retryAfterSeconds"] == 11 * 3600 - 20
        # What was sold by the month is not part of the free plan, whatever the day says.
        elsewhere = await books.consume("tx_post")
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (402, "FEATURE_NOT_IN_PLAN")

        # A second too early is still too early; whoever waits as told passes.
        clock.advance(seconds=wait - 1)
        early = await books.consume("tx_analyze")
        assert (early.status_code, early.headers["retry-after"]) == (429, "1")
        clock.advance(seconds=1)
        assert (await books.consume("tx_analyze")).status_code == 200
        assert await used(books.core, "tx_analyze", clock.now()) == [1]
