"""USE-1: the 301st of 300 this month.

402 MONTHLY_CAP_EXCEEDED with limit, used, reset time, and the plan that would allow it.
"""

import pytest

from tests.support.builders import instant
from tests.support.clock import FakeClock
from tests.support.scene import recorded, scene, subscribe

CONSUME = """
mutation ($input: ConsumeInput!) { consume(input: $input) { units } }
"""


async def test_the_301st_posting_of_the_month_asks_for_a_larger_plan(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        for units in (299, 1):
            assert (await books.consume("tx_post", units)).status_code == 200

        refused = await books.consume("tx_post")
        assert refused.status_code == 402
        said = refused.json()
        assert said["code"] == "MONTHLY_CAP_EXCEEDED"
        assert (said["limit"], said["used"], said["remaining"]) == (300, 300, 0)
        assert said["resetsAt"] == "2026-04-01T00:00:00Z"
        assert said["unlockedBy"] == ["pro", "firm"]
        assert said["maxUnitsNow"] == 0

        # Nothing of the refusal was counted, and what it named does help, at once.
        await books.core.drainer.drain(range(256))
        assert await recorded(books.core, "tx_post") == 300
        await subscribe(books.core, "acme", said["unlockedBy"][0], clock.now())
        allowed = await books.consume("tx_post")
        assert allowed.status_code == 200
        [window] = allowed.json()["windows"]
        assert (window["used"], window["limit"]) == (301, 3000)


@pytest.mark.parametrize(
    ("asked_at", "status"),
    [("2026-03-31 23:59:59", 402), ("2026-04-01", 200)],
)
async def test_the_next_month_lets_it_pass_by_itself(
    database_url: str, redis_url: str, clock: FakeClock, asked_at: str, status: int
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        assert (await books.consume("tx_post", 300)).status_code == 200
        clock.set(instant(asked_at))
        assert (await books.consume("tx_post")).status_code == status


async def test_graphql_says_the_same(database_url: str, redis_url: str, clock: FakeClock) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.consume("tx_post", 300)
        answered = await books.client.post(
            "/graphql",
            json={
                "query": CONSUME,
                "variables": {"input": {"customer": "acme", "feature": "tx_post"}},
            },
            headers={"Authorization": f"Bearer {books.site.keys['consume']}"},
        )
        [error] = answered.json()["errors"]
        said = error["extensions"]
        assert (said["code"], said["status"]) == ("MONTHLY_CAP_EXCEEDED", 402)
        assert (said["limit"], said["used"]) == (300, 300)
        assert said["resetsAt"] == "2026-04-01T00:00:00Z"
        assert said["unlockedBy"] == ["pro", "firm"]
