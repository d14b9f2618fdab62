"""SUB-14: a customer is promised more than their plan gives.

An override with an expiry and a reason: set and cleared by an operator, honoured at once, and
ending by itself.
"""

from tests.support.clock import FakeClock
from tests.support.scene import scene, subscribe

SET = """
mutation ($input: OverrideInput!, $reason: String!) {
  setOverride(input: $input, reason: $reason) {
    feature reason actor expiresAt limits { window units }
  }
}
"""
CLEAR = """
mutation ($reason: String!) {
  clearOverride(customer: "acme", feature: "tx_post", reason: $reason) { feature reason }
}
"""
LOG = """
{ auditLog(first: 10, customer: "acme") { edges { node { action reason actor detail } } } }
"""
MORE = {"window": "MONTH", "units": 350, "code": "MONTHLY_CAP_EXCEEDED", "status": 402}


def promised(**changed: object) -> dict[str, object]:
    return {"customer": "acme", "feature": "tx_post", "limits": [MORE], **changed}


async def test_a_promise_is_honoured_at_once_and_ends_by_itself(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.consume("tx_post", 300)
        assert (await books.consume("tx_post")).status_code == 402

        answered = await books.ask(
            SET,
            input=promised(expiresAt="2026-03-20T00:00:00Z"),
            reason="their import failed, ticket 71",
        )
        made = answered["setOverride"]
        assert (made["feature"], made["reason"]) == ("tx_post", "their import failed, ticket 71")
        assert made["expiresAt"] == "2026-03-20T00:00:00Z"
        assert made["limits"] == [{"window": "MONTH", "units": 350}]
        assert made["actor"]

        allowed = await books.consume("tx_post", 40)
        assert allowed.status_code == 200
        [window] = allowed.json()["windows"]
        assert (window["used"], window["limit"]) == (340, 350)
        # Usage is kept, the promise has its own end, and nobody else got it.
        assert (await books.consume("tx_post", 11)).status_code == 402
        assert (await books.consume("tx_post", customer="globex")).status_code == 402

        clock.set(clock.now().replace(day=19, hour=23, minute=59, second=59))
        assert (await books.consume("tx_post")).status_code == 200
        clock.advance(seconds=1)
        ended = await books.consume("tx_post")
        assert (ended.status_code, ended.json()["limit"], ended.json()["used"]) == (402, 300, 341)
        # The next month is the plan's own.
        clock.set(clock.now().replace(month=4, day=1))
        assert (await books.consume("tx_post", 301)).status_code == 402
        assert (await books.consume("tx_post", 300)).status_code == 200


async def test_a_promise_is_taken_back_and_both_are_in_the_log_with_their_reasons(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.ask(SET, input=promised(), reason="sold by phone")
        assert (await books.consume("tx_post", 350)).status_code == 200
        cleared = await books.ask(CLEAR, reason="sold to the wrong customer")
        assert cleared["clearOverride"] == {"feature": "tx_post", "reason": "sold by phone"}
        refused = await books.consume("tx_post")
        assert (refused.status_code, refused.json()["limit"]) == (402, 300)

        edges = (await books.ask(LOG))["auditLog"]["edges"]
        acts = [edge["node"] for edge in edges if edge["node"]["action"].startswith("override")]
        assert [(act["action"], act["reason"]) for act in acts] == [
            ("override.clear", "sold to the wrong customer"),
            ("override.set", "sold by phone"),
        ]
        assert acts[1]["detail"]["limits"][0]["units"] == 350
        assert all(act["actor"] for act in acts)


async def test_a_promise_without_a_reason_or_already_over_is_refused(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        asked = [
            {"input": promised(), "reason": " "},
            {"input": promised(expiresAt="2026-03-10T10:00:00Z"), "reason": "too late"},
        ]
        for variables in asked:
            answered = await books.client.post(
                "/graphql",
                json={"query": SET, "variables": variables},
                headers={"Authorization": f"Bearer {books.site.keys['admin']}"},
            )
            [error] = answered.json()["errors"]
            assert error["extensions"]["code"] == "INVALID_INPUT"
        assert (await books.consume("tx_post", 301)).status_code == 402
