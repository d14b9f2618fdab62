"""What operators do about deliveries and courses of things: catching up, and following an id."""

from datetime import timedelta

import pytest

from tests.support.dealing import Dealing

CATCH_UP = """
mutation ($since: DateTime, $reason: String!) {
  catchUpWebhooks(since: $since, reason: $reason) { since listed missed beyondReach }
}
"""
TRACE = """
query ($id: String!) {
  trace(correlationId: $id) { correlationId entries { source customer what reference } }
}
"""
CHANGE = 'mutation { changePlan(input: {customer: "acme", plan: "pro"}) { id } }'


async def lost(deal: Dealing) -> None:
    """Let acme subscribe while nothing is delivered."""
    deal.stripe.webhooks.on = False
    await deal.subscribe("starter")
    assert await deal.plan() == "free"


async def test_what_was_never_delivered_is_fetched_since_an_instant_and_once(
    deal: Dealing,
) -> None:
    began = deal.clock.now()
    await lost(deal)
    deal.clock.advance(hours=3)
    said = {"since": (began + timedelta(hours=1)).isoformat(), "reason": "it was down"}
    found = (await deal.ask(CATCH_UP, **said))["catchUpWebhooks"]
    assert (found["missed"], found["beyondReach"]) == (0, False)
    said["since"] = began.isoformat()
    found = (await deal.ask(CATCH_UP, **said))["catchUpWebhooks"]
    assert found["listed"] >= found["missed"] > 0
    await deal.work()
    assert await deal.plan() == "starter"
    assert (await deal.ask(CATCH_UP, **said))["catchUpWebhooks"]["missed"] == 0
    rows = await deal.core.database.fetch(
        "select actor, reason from audit_log where action = 'webhooks.catch_up'"
    )
    assert {tuple(row) for row in rows} == {("key:admin", "it was down")}


async def test_without_an_instant_it_begins_where_the_last_pass_ended(deal: Dealing) -> None:
    await deal.ask(CATCH_UP, reason="to begin")
    deal.clock.advance(hours=1)
    await lost(deal)
    found = (await deal.ask(CATCH_UP, reason="again"))["catchUpWebhooks"]
    assert found["missed"] > 0


async def test_since_an_instant_beyond_the_list_says_so(deal: Dealing) -> None:
    long_ago = (deal.clock.now() - timedelta(days=40)).isoformat()
    found = (await deal.ask(CATCH_UP, since=long_ago, reason="x"))["catchUpWebhooks"]
    assert found["beyondReach"] is True


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"since": "2026-04-01T00:00:00Z", "reason": "x"}, "lies in the past"),
        ({"since": "yesterday", "reason": "x"}, "RFC 3339"),
        ({"reason": " "}, "Say why"),
    ],
)
async def test_catching_up_from_nonsense_is_told_and_does_nothing(
    deal: Dealing, said: dict[str, str], told: str
) -> None:
    await lost(deal)
    (error,) = (await deal.post(CATCH_UP, as_="support", **said))["errors"]
    assert (error["extensions"]["code"], told in error["message"]) == ("INVALID_INPUT", True), error
    await deal.work()
    assert await deal.plan() == "free"


async def test_while_stripe_is_down_catching_up_says_to_come_again(deal: Dealing) -> None:
    deal.stripe.faults.outage = True
    (error,) = (await deal.post(CATCH_UP, as_="support", reason="x"))["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"


async def test_one_id_leads_from_what_was_asked_to_what_came_of_it(deal: Dealing) -> None:
    await deal.subscribe("starter")
    answered = await deal.client.post(
        "/graphql",
        json={"query": CHANGE},
        headers={
            "Authorization": f"Bearer {deal.site.keys['support']}",
            "X-Correlation-Id": "ticket-42",
        },
    )
    operation = answered.json()["data"]["changePlan"]["id"]
    await deal.work()
    found = (await deal.ask(TRACE, id="ticket-42"))["trace"]
    assert found["correlationId"] == "ticket-42"
    by_source = {one["source"]: one for one in found["entries"]}
    assert by_source["provider_operation"]["reference"] == operation
    assert by_source["provider_operation"]["what"] == "change_plan: confirmed"
    assert by_source["audit_entry"]["what"].startswith("billing.change_plan: ")
    assert by_source["webhook_event"]["what"].endswith(": applied")
    assert by_source["subscription_change"]["what"] == "plan: starter -> pro, active"
    assert {one["customer"] for one in found["entries"]} == {"acme"}


async def test_an_id_that_nothing_carries_leads_nowhere(deal: Dealing) -> None:
    for nobody_s in ("nothing", "", "x" * 5_000, "' or 1=1 --"):
        found = (await deal.ask(TRACE, id=nobody_s))["trace"]
        assert (found["correlationId"], found["entries"]) == (nobody_s, [])
