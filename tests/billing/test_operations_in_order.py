"""Of one object one operation is pending at most, and an older one is never done after a newer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.waiting import until

SUBSCRIPTIONS = "/v1/subscriptions/"


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


class _OnceAsked(asyncio.Event):
    """Holds the answer to one change back, and tells that it is held."""

    def __init__(self, deal: Dealing) -> None:
        super().__init__()
        self.deal = deal
        self.held = False

    async def wait(self) -> Literal[True]:
        if self.deal.stripe.faults.asked(SUBSCRIPTIONS, "POST"):
            self.held = True
            return await super().wait()
        return True


async def states(deal: Dealing) -> list[tuple[str, str]]:
    rows = await deal.core.database.fetch(
        "select action, state from provider_operations order by id"
    )
    return [(row["action"], row["state"]) for row in rows]


async def left_behind(deal: Dealing, field: str, **given: Any) -> None:
    """Ask for something whose request is lost on the way, so that it waits."""
    deal.stripe.faults.cut_next(path=SUBSCRIPTIONS, method="POST", after_effect=False)
    assert (await deal.done(field, **given))["state"] == "PENDING"
    deal.clock.advance(seconds=1)


async def later(deal: Dealing) -> None:
    await deal.hear()
    deal.clock.advance(seconds=5)
    await deal.operations.run_once(deal.clock.now())
    await deal.hear()


async def test_the_plan_that_was_asked_for_last_is_the_plan(deal: Dealing) -> None:
    await deal.subscribe("starter")
    await left_behind(deal, "changePlan", plan="firm")
    await deal.done("changePlan", plan="pro")
    await later(deal)
    assert await deal.plan() == "pro"
    assert await states(deal) == [("change_plan", "confirmed")] * 2


async def test_what_was_resumed_last_goes_on(deal: Dealing) -> None:
    bought = await deal.subscribe("starter")
    await left_behind(deal, "cancelSubscription")
    await deal.done("resumeSubscription")
    await later(deal)
    assert deal.stripe.get(bought)["cancel_at_period_end"] is False
    assert await states(deal) == [("cancel", "confirmed"), ("resume", "confirmed")]


async def test_while_the_earlier_one_has_no_answer_the_new_one_is_not_begun(deal: Dealing) -> None:
    bought = await deal.subscribe("starter")
    await left_behind(deal, "cancelSubscription")
    deal.stripe.faults.cut_next(path=SUBSCRIPTIONS, method="POST", after_effect=False)
    said = await deal.say("changePlan", plan="pro", idempotencyKey="up")
    (error,) = said["errors"]
    (waiting,) = (await deal.standing())["pendingOperations"]
    assert (error["extensions"]["code"], error["extensions"]["status"]) == ("OPERATION_WAITS", 409)
    assert waiting["id"] in error["message"]
    assert await states(deal) == [("cancel", "pending")]

    done = await deal.done("changePlan", plan="pro", idempotencyKey="up")
    await later(deal)
    assert (done["state"], await deal.plan()) == ("ANSWERED", "pro")
    assert deal.stripe.get(bought)["cancel_at_period_end"] is True


async def test_two_at_once_are_not_both_begun(deal: Dealing) -> None:
    await deal.subscribe("starter")
    server = deal.stripe.server
    assert server is not None
    before = deal.stripe.faults.asked(SUBSCRIPTIONS, "POST")
    assert before == 0
    server.gate = gate = _OnceAsked(deal)
    first = asyncio.create_task(deal.done("changePlan", plan="pro"))
    await until(lambda: gate.held)
    said = await deal.refused("cancelSubscription")
    assert said["code"] == "OPERATION_WAITS"
    again = await deal.done("changePlan", plan="pro")
    gate.set()
    done = await first
    assert (again["id"], again["state"]) == (done["id"], "PENDING")
    assert await states(deal) == [("change_plan", "answered")]


async def test_the_record_itself_holds_one_pending_operation_of_an_object(deal: Dealing) -> None:
    await deal.subscribe("starter")
    await left_behind(deal, "cancelSubscription")
    same = """
    insert into provider_operations (operation_id, provider, action, object_id, request, key_scope,
        fingerprint, next_attempt_at, actor, reason, created_at)
    select 'op_other', provider, action, object_id, request, key_scope, 'other', next_attempt_at,
        actor, reason, created_at
    from provider_operations on conflict do nothing returning id
    """
    assert await deal.core.database.fetch(same) == []


async def test_a_key_gives_its_operation_also_where_it_could_not_be_asked_any_more(
    deal: Dealing,
) -> None:
    await deal.subscribe("pro")
    ending = {"customer": "acme", "ending": "NOW", "reason": "they asked", "idempotencyKey": "end"}
    done = await deal.done("cancelSubscription", as_="support", **ending)
    await deal.hear()
    again = await deal.done("cancelSubscription", as_="support", **ending)
    assert (again["id"], again["state"]) == (done["id"], "CONFIRMED")


async def test_support_says_why_it_ends_a_subscription_now(deal: Dealing) -> None:
    await deal.subscribe("pro")
    given = {"customer": "acme", "ending": "NOW"}
    said = await deal.refused("cancelSubscription", as_="support", **given)
    assert said["code"] == "INVALID_INPUT"
    assert await states(deal) == []


async def test_a_refusal_has_the_object_read_again(deal: Dealing) -> None:
    bought = await deal.subscribe("pro")
    deal.stripe.webhooks.on = False
    await deal.door.api.ask(deal.door.api.v1.subscriptions.cancel_async(bought))
    assert (await deal.refused("cancelSubscription"))["code"] == "PROVIDER_REFUSED"
    await deal.work()
    (held,) = (await deal.standing())["subscriptions"]
    assert held["status"] == "CANCELED"


async def test_a_bug_in_one_operation_stops_no_other(deal: Dealing) -> None:
    await deal.subscribe("pro")
    await left_behind(deal, "cancelSubscription")
    deal.stripe.faults.cut_next(
        path="/v1/billing_portal/sessions", method="POST", after_effect=False
    )
    await deal.done("createPortalSession")
    await deal.core.database.execute(
        """update provider_operations set request = '{"call": {}, "look": "subscription"}'
        where action = 'cancel'"""
    )
    deal.clock.advance(seconds=5)
    assert await deal.operations.run_once(deal.clock.now()) == 2
    assert await states(deal) == [("cancel", "pending"), ("portal", "confirmed")]
    row = await deal.core.database.fetchrow(
        "select error, next_attempt_at from provider_operations where action = 'cancel'"
    )
    assert row is not None
    assert row["error"].startswith("KeyError")
    assert row["next_attempt_at"] > deal.clock.now()
