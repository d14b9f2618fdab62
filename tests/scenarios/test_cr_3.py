"""CR-3: an action fails after its credits were taken.

The hold is voided and gives all of it back, by the service or by an operator; a hold that nobody
resolves expires by itself; and what a consumption took is given back by its id.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.domain.catalog import Bucket
from api.ledger.checks import balance_mismatch, ledger_sum_mismatch
from tests.support.clock import FakeClock
from tests.support.credits import CATALOG, accounts, actors, gift
from tests.support.scene import Scene, figures, scene

END = """mutation ($hold: ID!) {
  endHold(customer: "acme", holdId: $hold, reason: "the render farm burned down") { state }
}"""
HOLDS = """{ customer(key: "acme") { holds { edges { node { id state held heldCredits } } } } }"""


@pytest.fixture
async def agents(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Scene]:
    async with scene(database_url, redis_url, clock, CATALOG) as built:
        await gift(built.core, clock, 100)
        yield built


async def ask(agents: Scene, path: str, **said: Any) -> Any:  # noqa: ANN401 - JSON
    answered = await agents.site.post(path, {"customer": "acme", **said})
    assert answered.status_code == 200, answered.text
    return answered.json()


async def standing(agents: Scene, feature: str = "chat") -> list[tuple[int, int]]:
    """Return used and held of each window."""
    found = await figures(agents.core, feature, agents.clock.now())
    return [(figure.used, figure.held) for figure in found]


async def sound(agents: Scene) -> bool:
    """Tell whether books, record and counters agree."""
    core, at = agents.core, agents.clock.now()
    await core.drainer.drain(range(256))
    assert await balance_mismatch(core.database, at, None) == []
    assert await ledger_sum_mismatch(core.database, None) == []
    snapshot = await core.holders.snapshot("acme", at)
    return await core.drift.compare("acme", snapshot, at) == ()


async def test_the_service_voids_the_hold_of_an_action_that_failed(agents: Scene) -> None:
    await ask(agents, "/v1/consume", feature="chat", units=60)
    hold = await ask(agents, "/v1/hold", feature="chat", units=80)
    assert hold["funding"]["credits"] == 12
    assert await standing(agents) == [(60, 80), (60, 40)]
    assert await accounts(agents.core) == {"available": 88, "held": 12}

    await ask(agents, "/v1/void", holdId=hold["id"])
    assert await standing(agents) == [(60, 0), (60, 0)]
    assert await accounts(agents.core) == {"available": 100}
    assert await sound(agents)


async def test_an_operator_voids_a_hold_that_its_service_forgot(agents: Scene) -> None:
    hold = await ask(agents, "/v1/hold", feature="claim", units=3)
    [edge] = (await agents.ask(HOLDS))["customer"]["holds"]["edges"]
    assert edge["node"] == {"id": hold["id"], "state": "OPEN", "held": 3, "heldCredits": 15}
    assert await agents.ask(END, hold=hold["id"]) == {"endHold": {"state": "VOIDED"}}
    assert await accounts(agents.core) == {"available": 100}
    assert (await actors(agents.core))[-2:] == [("hold", "key:consume"), ("release", "key:admin")]
    late = await agents.site.post("/v1/capture", {"customer": "acme", "holdId": hold["id"]})
    assert (late.status_code, late.json()["code"]) == (409, "HOLD_CLOSED")
    assert await sound(agents)


async def test_a_hold_nobody_resolves_expires_and_gives_all_of_it_back(agents: Scene) -> None:
    paid = await ask(agents, "/v1/hold", feature="claim", units=4, seconds=60)
    counted = await ask(agents, "/v1/hold", feature="chat", units=130, seconds=60)
    longer = await ask(agents, "/v1/hold", feature="calls", units=2, seconds=61)
    agents.clock.advance(seconds=60)
    # Past its time nothing is captured any more, whether or not the worker has been there.
    late = await agents.site.post("/v1/capture", {"customer": "acme", "holdId": paid["id"]})
    assert (late.status_code, late.json()["code"]) == (409, "HOLD_CLOSED")

    assert await agents.core.holding.expire(agents.clock.now()) == 2
    assert await accounts(agents.core) == {"available": 100}
    assert await standing(agents) == [(0, 0), (0, 0)]
    assert await standing(agents, "calls") == [(0, 2)]
    states = {
        edge["node"]["id"]: edge["node"]["state"]
        for edge in (await agents.ask(HOLDS))["customer"]["holds"]["edges"]
    }
    assert states == {paid["id"]: "EXPIRED", counted["id"]: "EXPIRED", longer["id"]: "OPEN"}
    assert await agents.core.holding.expire(agents.clock.now()) == 0
    assert (await actors(agents.core))[-1] == ("release", "headroom")
    assert await sound(agents)


async def test_what_was_captured_before_it_expired_stays_spent(agents: Scene) -> None:
    hold = await ask(agents, "/v1/hold", feature="chat", units=120, seconds=60)
    await ask(agents, "/v1/capture", holdId=hold["id"], units=110, final=False)
    agents.clock.advance(seconds=60)
    assert await agents.core.holding.expire(agents.clock.now()) == 1
    assert await standing(agents) == [(110, 0), (100, 0)]
    assert await accounts(agents.core) == {"available": 97, "spent": 3}
    assert await sound(agents)


async def test_credits_go_back_to_the_grant_that_they_came_from(agents: Scene) -> None:
    await gift(agents.core, agents.clock, 7, source="promo", bucket=Bucket.PROMOTIONAL, priority=1)
    hold = await ask(agents, "/v1/hold", feature="claim", units=2)
    assert [one["credits"] for one in hold["funding"]["buckets"]] == [7, 3]
    await ask(agents, "/v1/capture", holdId=hold["id"], units=1)
    rows = await agents.core.database.fetch("select available from credit_grants order by priority")
    assert [row["available"] for row in rows] == [2, 100]


async def test_a_counter_store_that_lost_everything_still_knows_what_is_held(
    agents: Scene,
) -> None:
    hold = await ask(agents, "/v1/hold", feature="chat", units=130)
    await agents.core.drainer.drain(range(256))
    await agents.core.door.command("FLUSHALL")
    assert await standing(agents) == [(0, 130), (0, 100)]
    await agents.core.door.command("FLUSHALL")
    await ask(agents, "/v1/void", holdId=hold["id"])
    assert await standing(agents) == [(0, 0), (0, 0)]
    assert await sound(agents)


@pytest.mark.parametrize("feature", ["claim", "chat"])
async def test_a_consumption_that_failed_is_released_with_its_credits(
    agents: Scene, feature: str
) -> None:
    units = {"claim": 4, "chat": 140}[feature]
    paid = await ask(agents, "/v1/consume", feature=feature, units=units)
    assert paid["balance"] < 100
    given = {"feature": feature, "consumptionId": paid["id"]}
    await ask(agents, "/v1/release", **given, units=units - 1, idempotencyKey="r1")
    again = await ask(agents, "/v1/release", **given, units=units - 1, idempotencyKey="r1")
    assert again["replayed"]
    await ask(agents, "/v1/release", **given, units=1)
    assert await accounts(agents.core) == {"available": 100}
    assert all(used == 0 for used, _ in await standing(agents, feature))
    over = await agents.site.post("/v1/release", {"customer": "acme", **given, "units": 1})
    assert (over.status_code, over.json()["code"]) == (400, "INVALID_INPUT")
    assert (await actors(agents.core))[-1] == ("return", "key:consume")
    assert await sound(agents)


async def test_what_credits_paid_is_not_given_back_without_saying_which_consumption(
    agents: Scene,
) -> None:
    await ask(agents, "/v1/consume", feature="claim")
    said = {"customer": "acme", "feature": "claim"}
    refused = await agents.site.post("/v1/release", said)
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_INPUT")
    assert "consumptionId" in refused.json()["detail"]
    assert await accounts(agents.core) == {"available": 95, "spent": 5}


async def test_a_captured_hold_is_a_consumption_that_can_be_released(agents: Scene) -> None:
    hold = await ask(agents, "/v1/hold", feature="claim", units=3)
    await ask(agents, "/v1/capture", holdId=hold["id"], units=2)
    given = {"feature": "claim", "consumptionId": hold["id"], "units": 2}
    await ask(agents, "/v1/release", **given)
    assert await accounts(agents.core) == {"available": 100}
    assert await sound(agents)
