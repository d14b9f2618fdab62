"""Ways that actions at the provider take: bought, declined, cut off, forbidden, given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

import pytest

from api.billing.looks import Look, look
from api.wiring.payments import operations_of
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.scene import BOOKKEEPER
from tests.support.waiting import until

PACK = """
[packs.credits_500]
name = "500 credits"
credits = 500

[packs.credits_500.prices]
credits_500 = { amount_minor = 1500, currency = "usd", interval = "once" }
"""
SESSIONS = "/v1/checkout/sessions"


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock, BOOKKEEPER + PACK) as opened:
        yield opened


class _OnceSold(asyncio.Event):
    """Holds Stripe's answers back from when a page was made; what it reads before goes on."""

    def __init__(self, deal: Dealing) -> None:
        super().__init__()
        self.deal = deal

    async def wait(self) -> Literal[True]:
        return await super().wait() if checkouts(self.deal) else True


def checkouts(deal: Dealing) -> int:
    return len(list(deal.stripe.all("checkout.session")))


async def test_a_pack_that_was_bought_on_the_page_is_credits(deal: Dealing) -> None:
    opened = await deal.done("createCheckout", pack="credits_500", quantity=2)
    assert opened["url"].startswith("https://checkout.stripe.com/")
    deal.stripe.checkout.complete(opened["objectId"])
    await deal.hear()
    assert await deal.core.database.fetchval("select sum(available) from credit_grants") == 1000


async def test_a_plan_with_an_add_on_and_a_code_is_bought_at_its_discount(deal: Dealing) -> None:
    await deal.done("createCoupon", as_="support", name="Half", percentOff=50, code="HALF")
    opened = await deal.done(
        "createCheckout",
        plan="firm",
        addOns=[{"addOn": "firm_addon", "quantity": 2}],
        promotionCode="HALF",
    )
    deal.stripe.checkout.complete(opened["objectId"])
    await deal.hear()
    assert await deal.plan() == "firm"
    held = await deal.core.database.fetchrow("select add_ons, provider_id from subscriptions")
    assert held is not None
    assert dict(held["add_ons"]) == {"firm_addon": 2}
    (code,) = deal.stripe.all("promotion_code")
    assert code["times_redeemed"] == 1


async def test_a_portal_is_opened_for_whom_the_provider_knows(deal: Dealing) -> None:
    assert (await deal.refused("createPortalSession"))["code"] == "NOT_FOUND"
    await deal.subscribe("starter")
    opened = await deal.done("createPortalSession")
    assert (opened["state"], opened["action"]) == ("CONFIRMED", "PORTAL")
    assert opened["url"].startswith("https://billing.stripe.com/")


async def test_a_declined_card_is_a_refusal_that_stays(deal: Dealing) -> None:
    await deal.subscribe("starter")
    deal.stripe.faults.fail_next(status=402, path="/v1/subscriptions/", method="POST")
    first = await deal.refused("changePlan", plan="pro", idempotencyKey="up")
    assert first["code"] == "PROVIDER_REFUSED"
    asked = deal.stripe.faults.asked(method="POST")
    assert (await deal.refused("changePlan", plan="pro", idempotencyKey="up")) == first
    assert deal.stripe.faults.asked(method="POST") == asked
    assert await deal.plan() == "starter"


async def test_a_failure_that_stripe_keeps_under_our_key_is_given_up_once(deal: Dealing) -> None:
    """It answers 500 again for as long as it knows the key; then nobody asks any more."""
    deal.stripe.faults.fail_next(status=500, path=SESSIONS, method="POST", after_effect=True)
    begun = await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    assert begun["state"] == "PENDING"
    deal.clock.advance(hours=1)
    await deal.operations.run_once(deal.clock.now())
    kept = await deal.operations.find(begun["id"])
    assert kept is not None
    assert kept.state == "pending"

    deal.clock.advance(hours=22, minutes=1)
    asked = deal.stripe.faults.asked(method="POST")
    assert await deal.operations.run_once(deal.clock.now()) == 1
    ended = await deal.operations.find(begun["id"])
    assert ended is not None
    assert ended.state == "unknown"
    assert deal.stripe.faults.asked(method="POST") == asked
    assert checkouts(deal) == 1


async def test_what_was_given_up_is_read_and_shows_what_came_of_it(deal: Dealing) -> None:
    await deal.subscribe("starter")
    deal.stripe.webhooks.on = False
    deal.stripe.faults.cut_next(path="/v1/subscriptions/", method="POST", after_effect=True)
    begun = await deal.done("changePlan", plan="pro")
    assert begun["state"] == "PENDING"
    deal.clock.advance(hours=23, minutes=1)
    await deal.operations.run_once(deal.clock.now())
    assert await deal.plan() == "starter"
    await deal.work()
    assert await deal.plan() == "pro"


async def test_a_caller_dropped_while_stripe_works_leaves_it_to_who_comes_after(
    deal: Dealing,
) -> None:
    server = deal.stripe.server
    assert server is not None
    server.gate = gate = _OnceSold(deal)
    asking = asyncio.create_task(deal.say("createCheckout", plan="pro"))
    await until(lambda: checkouts(deal) == 1)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    row = await deal.core.database.fetchrow("select operation_id, state from provider_operations")
    assert row is not None
    assert row["state"] == "pending"

    gate.set()
    deal.clock.advance(seconds=61)
    after = operations_of(deal.core, deal.door)
    assert await after.run_once(deal.clock.now()) == 1
    found = await after.find(row["operation_id"])
    assert found is not None
    assert found.state == "confirmed"
    assert checkouts(deal) == 1


async def test_the_row_is_there_before_stripe_is_asked_and_its_id_is_the_key(
    deal: Dealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, object]] = []
    acts = type(deal.operations.acts)
    perform = acts.perform

    async def watched(self: Any, action: Any, request: Any, key: str) -> Any:  # noqa: ANN401 - likewise
        row = await deal.core.database.fetchrow(
            "select state from provider_operations where operation_id = $1", key
        )
        seen.append((key, None if row is None else row["state"]))
        return await perform(self, action, request, key)

    monkeypatch.setattr(acts, "perform", watched)
    done = await deal.done("createCheckout", plan="pro")
    assert seen == [(done["id"], "pending")]


async def test_a_pass_that_began_before_the_answer_does_not_confirm_it(
    deal: Dealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked at 0, a pass begins at 1, the answer comes at 2: that pass may have read before."""
    bought = await deal.subscribe("starter")
    asked = deal.clock.now()
    acts = type(deal.operations.acts)
    perform = acts.perform

    async def slow(*given: Any) -> Any:  # noqa: ANN401 - whatever is asked
        answer = await perform(*given)
        deal.clock.advance(seconds=2)
        return answer

    monkeypatch.setattr(acts, "perform", slow)
    async with deal.core.database.transaction() as conn:
        await look(conn, "stripe", Look.SUBSCRIPTION, [bought], asked)
    done = await deal.done("changePlan", plan="pro")
    assert await deal.worker.run_once(asked + timedelta(seconds=1))
    states = "select state from provider_operations where operation_id = $1"
    assert await deal.core.database.fetchval(states, done["id"]) == "answered"
    await deal.work()
    assert await deal.core.database.fetchval(states, done["id"]) == "confirmed"


async def test_a_key_that_may_only_consume_neither_buys_nor_lets_others_buy(deal: Dealing) -> None:
    mint = (
        'mutation { mintCustomerToken(customer: "acme", reason: "x", scopes: [MANAGE]) { token } }'
    )
    (error,) = (await deal.post(mint, as_="consume"))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    for field, given in (
        ("createCheckout", {"plan": "pro"}),
        ("createPortalSession", {}),
        ("changePlan", {"plan": "pro"}),
        ("cancelSubscription", {}),
        ("resumeSubscription", {}),
        ("setAddOnQuantity", {"addOn": "firm_addon", "quantity": 1}),
        ("applyPromotionCode", {"code": "HALF"}),
    ):
        said = await deal.refused(field, as_="consume", customer="acme", **given)
        assert said["code"] == "FORBIDDEN", field


async def test_another_customer_s_token_reaches_nothing_of_this_one(deal: Dealing) -> None:
    await deal.subscribe("starter")
    asked = deal.stripe.faults.asked(method="POST")
    other = deal.site.token("globex", "check", "manage")
    for field, given in (
        ("createCheckout", {"plan": "pro"}),
        ("createPortalSession", {}),
        ("changePlan", {"plan": "pro"}),
        ("cancelSubscription", {}),
    ):
        said = await deal.refused(field, as_=other, customer="acme", **given)
        assert said["code"] == "UNKNOWN_CUSTOMER", field
    assert deal.stripe.faults.asked(method="POST") == asked
