"""Actions at the provider: once each, whatever happens between asking and knowing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


def checkouts(deal: Dealing) -> int:
    return len(list(deal.stripe.all("checkout.session")))


async def test_an_upgrade_is_pending_until_what_came_of_it_was_read(deal: Dealing) -> None:
    await deal.subscribe("starter")
    done = await deal.done("changePlan", plan="pro", idempotencyKey="up")
    assert (done["action"], done["state"]) == ("CHANGE_PLAN", "ANSWERED")
    standing = await deal.standing()
    assert standing["plan"]["key"] == "starter"
    assert [one["id"] for one in standing["pendingOperations"]] == [done["id"]]

    await deal.work()  # no event was needed: the look read the object
    standing = await deal.standing()
    assert (standing["plan"]["key"], standing["pendingOperations"]) == ("pro", [])
    again = await deal.done("changePlan", plan="pro", idempotencyKey="up")
    assert (again["id"], again["state"]) == (done["id"], "CONFIRMED")


async def test_two_callers_with_one_key_at_once_are_one_action(deal: Dealing) -> None:
    one, other = await asyncio.gather(
        deal.done("createCheckout", plan="pro", idempotencyKey="buy"),
        deal.done("createCheckout", plan="pro", idempotencyKey="buy"),
    )
    assert one["id"] == other["id"]
    assert checkouts(deal) == 1


async def test_a_key_of_another_action_is_a_conflict(deal: Dealing) -> None:
    await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    said = await deal.refused("createCheckout", plan="firm", idempotencyKey="buy")
    assert said["code"] == "IDEMPOTENCY_CONFLICT"


async def test_an_unknown_outcome_is_asked_again_and_has_one_effect(deal: Dealing) -> None:
    deal.stripe.faults.cut_next(path="/v1/checkout/sessions", method="POST", after_effect=True)
    begun = await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    assert (begun["state"], begun["url"]) == ("PENDING", None)
    assert checkouts(deal) == 1

    assert await deal.operations.run_once(deal.clock.now()) == 0  # not yet
    deal.clock.advance(seconds=2)
    assert await deal.operations.run_once(deal.clock.now()) == 1
    ended = await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    assert (ended["id"], ended["state"]) == (begun["id"], "CONFIRMED")
    assert ended["url"].startswith("https://checkout.stripe.com/")
    assert checkouts(deal) == 1


@pytest.mark.parametrize("called", [False, True], ids=["before the call", "after the call"])
async def test_a_process_that_dies_leaves_its_action_to_the_worker(
    deal: Dealing, *, called: bool
) -> None:
    """Dying is what nobody sees: the row stands as it was begun, under its lease."""
    deal.stripe.faults.cut_next(path="/v1/checkout/sessions", method="POST", after_effect=called)
    begun = await deal.done("createCheckout", plan="pro")
    await deal.core.database.execute(
        "update provider_operations set error = null, next_attempt_at = $1",
        deal.clock.now().replace(minute=1),
    )
    deal.clock.advance(seconds=61)
    assert await deal.operations.run_once(deal.clock.now()) == 1
    found = await deal.operations.find(begun["id"])
    assert found is not None
    assert found.state == "confirmed"
    assert checkouts(deal) == 1


async def test_while_stripe_is_down_an_action_is_refused_whole_and_decisions_go_on(
    deal: Dealing,
) -> None:
    await deal.subscribe("starter")
    deal.stripe.faults.outage = True
    said = await deal.refused("changePlan", plan="pro")
    assert (said["code"], said["status"]) == ("UNAVAILABLE", 503)
    assert (await deal.standing())["pendingOperations"] == []
    assert (await deal.consume("tx_post")).status_code == 200


async def test_a_declined_payment_leaves_the_change_waiting(deal: Dealing) -> None:
    """SUB-8: it is promoted by the event of its payment."""
    await deal.subscribe("starter")
    deal.clock.advance(days=1)
    deal.stripe.payments.fail_next()
    done = await deal.done("changePlan", plan="pro")
    assert done["waitsForPayment"]
    await deal.work()
    standing = await deal.standing()
    assert standing["plan"]["key"] == "starter"
    assert standing["subscriptions"][0]["pendingPlan"] == {"key": "pro"}
    assert standing["pendingOperations"] == []


async def test_a_provider_s_no_is_an_error_and_stays_one(deal: Dealing) -> None:
    await deal.subscribe("starter")
    said = await deal.refused("applyPromotionCode", code="NOTHING")
    assert (said["code"], said["status"]) == ("PROVIDER_REFUSED", 409)


@pytest.mark.parametrize(
    ("field", "given", "code"),
    [
        ("changePlan", {"plan": "nothing"}, "INVALID_INPUT"),
        ("changePlan", {"plan": "pro", "price": "starter"}, "INVALID_INPUT"),
        ("changePlan", {"plan": "pro", "subscription": "sub_else"}, "NOT_FOUND"),
        ("changePlan", {"plan": "pro", "customer": "globex"}, "UNKNOWN_CUSTOMER"),
        ("setAddOnQuantity", {"addOn": "firm_addon", "quantity": 1}, "INVALID_INPUT"),
        ("setAddOnQuantity", {"addOn": "firm_addon", "quantity": -1}, "INVALID_INPUT"),
        ("createCheckout", {}, "INVALID_INPUT"),
        ("createCheckout", {"plan": "pro", "quantity": 0}, "INVALID_INPUT"),
        ("cancelSubscription", {"ending": "NOW"}, "FORBIDDEN"),
        ("refundPayment", {"payment": "pi_1"}, "FORBIDDEN"),
        ("createCheckout", {"plan": "pro", "idempotencyKey": "x" * 256}, "INVALID_INPUT"),
    ],
)
async def test_what_cannot_be_meant_or_is_not_theirs_is_refused(
    deal: Dealing, field: str, given: dict[str, Any], code: str
) -> None:
    await deal.subscribe("starter")
    before = deal.stripe.faults.asked(method="POST")
    assert (await deal.refused(field, **given))["code"] == code
    assert deal.stripe.faults.asked(method="POST") == before


async def test_a_token_that_may_only_use_does_not_buy(deal: Dealing) -> None:
    token = deal.site.token("acme", "check", "consume")
    said = await deal.refused("createCheckout", as_=token, plan="pro")
    assert said["code"] == "FORBIDDEN"
