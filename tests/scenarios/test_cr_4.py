"""CR-4: the balance would go negative. Impossible: 402 INSUFFICIENT_CREDITS, at any concurrency."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, gift
from tests.support.scene import Scene, scene, used

DENIED = ("code", "status", "cost", "balance", "maxUnitsNow", "unlockedByPacks", "units", "window")
LACKING_OR_FULL = {"INSUFFICIENT_CREDITS", "DAILY_CAP_EXCEEDED"}
CONSUME = """mutation ($feature: String!, $units: Units!) {
  consume(input: {customer: "acme", feature: $feature, units: $units}) { balance }
}"""
CHECK = """query ($feature: String!, $units: Units!) {
  check(customer: "acme", feature: $feature, units: $units) {
    code status cost balance maxUnitsNow unlockedByPacks units window
  }
}"""
TOGETHER = """mutation ($items: [ItemInput!]!) {
  consumeTogether(input: {customer: "acme", items: $items}) {
    feature balance funding { included charged credits }
  }
}"""


@pytest.fixture
async def agents(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Scene]:
    async with scene(database_url, redis_url, clock, CATALOG) as built:
        yield built


async def errors(agents: Scene, query: str, **variables: Any) -> list[dict[str, Any]]:
    answered = await agents.client.post(
        "/graphql",
        json={"query": query, "variables": variables},
        headers={"Authorization": f"Bearer {agents.site.keys['consume']}"},
    )
    return [error["extensions"] for error in answered.json()["errors"]]


async def told_everywhere(agents: Scene, feature: str, units: int) -> dict[str, Any]:
    """Return the facts of a refusal, the same by every door, asking or doing."""
    said = {"customer": "acme", "feature": feature, "units": units}
    facts = []
    for path in ("/v1/check", "/v1/consume", "/v1/hold"):
        answered = await agents.site.post(path, said)
        assert answered.status_code == 402, answered.text
        assert answered.headers["content-type"] == "application/problem+json"
        assert "retry-after" not in answered.headers
        facts.append(answered.json())
    facts += await errors(agents, CONSUME, feature=feature, units=units)
    facts.append((await agents.ask(CHECK, feature=feature, units=units))["check"])
    first, *others = [{name: one[name] for name in DENIED} for one in facts]
    assert others == [first] * 4
    return first


async def test_a_refusal_says_cost_balance_packs_and_what_would_pass(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 14)
    assert await told_everywhere(agents, "claim", 3) == {
        "code": "INSUFFICIENT_CREDITS",
        "status": 402,
        "cost": 15,
        "balance": 14,
        "maxUnitsNow": 2,
        "unlockedByPacks": ["small", "large"],
        "units": 3,
        "window": None,
    }
    assert await accounts(agents.core) == {"available": 14}


async def test_what_the_plan_includes_counts_to_what_would_pass(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 4)
    assert (await agents.consume("chat", 90)).json()["funding"]["included"] == 90
    told = await told_everywhere(agents, "chat", 30)
    assert (told["cost"], told["balance"], told["maxUnitsNow"]) == (6, 4, 23)
    assert await used(agents.core, "chat", agents.clock.now()) == [90, 90]

    passed = (await agents.consume("chat", 23)).json()
    assert passed["funding"] == {
        "included": 10,
        "charged": 13,
        "credits": 4,
        "buckets": [{"bucket": "PERMANENT", "credits": 4}],
    }
    assert passed["balance"] == 0
    assert (await told_everywhere(agents, "chat", 1))["maxUnitsNow"] == 0


async def test_credits_that_lack_are_told_before_a_full_window(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 9)
    # 151 are more than the day allows, and 51 of them cost 16 credits.
    told = await told_everywhere(agents, "chat", 151)
    assert (told["code"], told["cost"], told["maxUnitsNow"]) == ("INSUFFICIENT_CREDITS", 16, 130)
    await gift(agents.core, agents.clock, 100, source="more")
    full = await agents.consume("chat", 151)
    assert (full.status_code, full.json()["code"]) == (429, "DAILY_CAP_EXCEEDED")
    assert full.json()["maxUnitsNow"] == 150
    # A cap that refuses costs nothing.
    assert await accounts(agents.core) == {"available": 109}
    assert await used(agents.core, "chat", agents.clock.now()) == [0, 0]


async def test_a_retry_after_a_pack_passes_and_the_same_key_is_charged_once(
    agents: Scene,
) -> None:
    refused = await agents.consume("claim", 2, key="k")
    assert refused.status_code == 402
    await gift(agents.core, agents.clock, 15)
    answers = await asyncio.gather(*(agents.consume("claim", 2, key="k") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["replayed"] for answer in answers) == [False] + [True] * 19
    assert {answer.json()["balance"] for answer in answers} == {5}
    assert await accounts(agents.core) == {"available": 5, "spent": 10}


async def test_together_all_is_paid_or_nothing_is(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 20)
    items = [
        {"feature": "claim", "units": 3},
        {"feature": "chat", "units": 120},
        {"feature": "calls", "units": 2},
    ]
    [facts] = await errors(agents, TOGETHER, items=items)
    assert (facts["code"], facts["status"]) == ("INSUFFICIENT_CREDITS", 402)
    assert {one["code"] for one in facts["denials"]} == {"INSUFFICIENT_CREDITS"}
    for feature in ("claim", "chat", "calls"):
        assert not any(await used(agents.core, feature, agents.clock.now()))
    assert await accounts(agents.core) == {"available": 20}

    items[0]["units"] = 2
    paid = (await agents.ask(TOGETHER, items=items))["consumeTogether"]
    assert paid == [
        {
            "feature": "claim",
            "balance": 4,
            "funding": {"included": 0, "charged": 2, "credits": 10},
        },
        {
            "feature": "chat",
            "balance": 4,
            "funding": {"included": 100, "charged": 20, "credits": 6},
        },
        {
            "feature": "calls",
            "balance": 4,
            "funding": {"included": 2, "charged": 0, "credits": 0},
        },
    ]
    assert await accounts(agents.core) == {"available": 4, "spent": 16}


async def test_together_an_allocation_is_told_before_credits_and_these_before_caps(
    agents: Scene,
) -> None:
    items = [
        {"feature": "calls", "units": 11},
        {"feature": "claim"},
        {"feature": "seats", "units": 4},
    ]
    [facts] = await errors(agents, TOGETHER, items=items)
    assert facts["code"] == "ALLOCATION_EXCEEDED"
    assert [one["code"] for one in facts["denials"]] == [
        "ALLOCATION_EXCEEDED",
        "INSUFFICIENT_CREDITS",
        "DAILY_CAP_EXCEEDED",
    ]
    [facts] = await errors(agents, TOGETHER, items=items[:2])
    assert facts["code"] == "INSUFFICIENT_CREDITS"


@pytest.mark.parametrize("feature", ["claim", "chat"])
async def test_of_two_hundred_callers_at_once_exactly_those_pass_that_can_be_paid(
    agents: Scene, feature: str
) -> None:
    each = {"claim": 5, "chat": 1}[feature]
    if feature == "chat":
        assert (await agents.consume("chat", 100)).status_code == 200
    await gift(agents.core, agents.clock, 20 * each)
    answers = await asyncio.gather(*(agents.consume(feature) for _ in range(200)))
    codes = Counter(answer.json().get("code", "granted") for answer in answers)
    assert codes.pop("granted") == 20
    # What is not decided yet counts, so that for a moment some may meet the day's cap instead.
    assert codes.keys() <= {"claim": {"INSUFFICIENT_CREDITS"}, "chat": LACKING_OR_FULL}[feature]
    balances = sorted(a.json()["balance"] for a in answers if a.status_code == 200)
    assert balances[0] == 0
    assert await accounts(agents.core) == {"spent": 20 * each}
    if feature == "chat":
        assert await used(agents.core, "chat", agents.clock.now()) == [120, 100]
    late = await agents.consume(feature)
    assert (late.status_code, late.json()["code"]) == (402, "INSUFFICIENT_CREDITS")


async def test_holds_and_consumptions_at_once_share_what_there_is(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 100)

    async def hold() -> int:
        said = {"customer": "acme", "feature": "claim"}
        return (await agents.site.post("/v1/hold", said)).status_code

    async def consume() -> int:
        return (await agents.consume("claim")).status_code

    statuses = await asyncio.gather(*(take() for _ in range(50) for take in (hold, consume)))
    assert Counter(statuses) == {200: 20, 402: 80}
    moved = await accounts(agents.core)
    assert moved.get("held", 0) + moved.get("spent", 0) == 100
    assert "available" not in moved


async def test_quota_and_credits_together_let_pass_what_both_allow(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 1000)
    answers = await asyncio.gather(*(agents.consume("chat", 10) for _ in range(40)))
    codes = Counter(answer.json().get("code", "granted") for answer in answers)
    assert codes == {"granted": 15, "DAILY_CAP_EXCEEDED": 25}
    assert await accounts(agents.core) == {"available": 985, "spent": 15}
    assert await used(agents.core, "chat", agents.clock.now()) == [150, 100]
