"""Who paid, in GraphQL: the plan first, then credits; and what a refusal says of either."""

from collections.abc import AsyncIterator

import pytest

from api.domain.catalog import Bucket
from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, gift
from tests.support.graphql import Api, served

CONSUME = """mutation ($input: ConsumeInput!) { consume(input: $input) {
  units balance replayed
  funding { included charged credits buckets { bucket credits } }
  windows { window used remaining overage }
} }"""
CHECK = """query ($feature: String!, $units: Units! = 1) {
  check(customer: "acme", feature: $feature, units: $units) {
    allowed status code cost balance maxUnitsNow unlockedByPacks window
  }
}"""


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock, catalog=CATALOG) as serving:
        yield serving


async def test_the_plan_pays_first_and_each_bucket_what_it_has(api: Api) -> None:
    await gift(api.core, api.clock, 4, source="a", bucket=Bucket.PROMOTIONAL, priority=10)
    await gift(api.core, api.clock, 100, source="b")
    said = {"customer": "acme", "feature": "chat", "units": 120, "idempotencyKey": "k"}
    first = (await api.data(CONSUME, input=said))["consume"]
    assert first == {
        "units": 120,
        "balance": 98,
        "replayed": False,
        "funding": {
            "included": 100,
            "charged": 20,
            "credits": 6,
            "buckets": [
                {"bucket": "PROMOTIONAL", "credits": 4},
                {"bucket": "PERMANENT", "credits": 2},
            ],
        },
        "windows": [
            {"window": "DAY", "used": 120, "remaining": 30, "overage": False},
            {"window": "MONTH", "used": 100, "remaining": 0, "overage": True},
        ],
    }
    await api.data(CONSUME, input={"customer": "acme", "feature": "claim"})
    again = (await api.data(CONSUME, input=said))["consume"]
    assert again == {**first, "replayed": True}


async def test_what_the_plan_includes_alone_asks_no_credits(api: Api) -> None:
    given = {"customer": "acme", "feature": "chat", "units": 100}
    consumed = (await api.data(CONSUME, input=given))["consume"]
    assert consumed["balance"] is None
    assert consumed["funding"] == {"included": 100, "charged": 0, "credits": 0, "buckets": []}
    free = {"customer": "acme", "feature": "calls"}
    assert (await api.data(CONSUME, input=free))["consume"]["funding"] is None
    assert await accounts(api.core) == {}


async def test_a_check_says_cost_balance_and_what_would_pass_as_a_consume_would(api: Api) -> None:
    await gift(api.core, api.clock, 9)
    for feature, units, allowed, cost, most, packs in (
        ("claim", 1, True, 5, 1, []),
        ("claim", 2, False, 10, 1, ["small", "large"]),
        ("claim", 12, False, 60, 1, ["large"]),
        ("chat", 130, True, 9, 130, []),
        ("chat", 131, False, 10, 130, ["small", "large"]),
    ):
        decision = (await api.data(CHECK, feature=feature, units=units))["check"]
        assert decision["allowed"] is allowed, (feature, units)
        assert (decision["cost"], decision["balance"]) == (cost, 9)
        assert decision["maxUnitsNow"] == most
        if not allowed:
            assert (decision["status"], decision["code"]) == (402, "INSUFFICIENT_CREDITS")
            assert decision["unlockedByPacks"] == packs
            error = await api.error(
                CONSUME, input={"customer": "acme", "feature": feature, "units": units}
            )
            told = {name: error[name] for name in decision if name != "allowed"}
            assert told == {k: v for k, v in decision.items() if k != "allowed"}
    free = (await api.data(CHECK, feature="calls"))["check"]
    assert (free["cost"], free["balance"]) == (None, None)
    assert await accounts(api.core) == {"available": 9}
