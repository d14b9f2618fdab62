"""What may be bought on a page beside what a customer holds already."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.scene import BOOKKEEPER

SEVERAL = BOOKKEEPER.replace(
    "[customer_types.business]", "[customer_types.business]\nseveral_subscriptions = true"
)


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def message(deal: Dealing, **basket: Any) -> str:
    (error,) = (await deal.say("createCheckout", **basket))["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    return str(error["message"])


async def test_who_holds_a_plan_is_sent_to_change_it(deal: Dealing) -> None:
    await deal.subscribe("starter")
    before = deal.stripe.faults.asked(method="POST")
    for plan in ("starter", "pro"):
        said = await message(deal, plan=plan)
        assert "holds starter" in said
        assert "changePlan" in said
    assert deal.stripe.faults.asked(method="POST") == before


@pytest.mark.parametrize("ending", ["with its period", "at an instant"])
async def test_beside_a_plan_that_ends_the_next_may_begin(deal: Dealing, ending: str) -> None:
    bought = await deal.subscribe("starter")
    if ending == "with its period":
        await deal.done("cancelSubscription")
    else:
        update = deal.door.api.v1.subscriptions.update_async
        day = int(deal.clock.now().timestamp()) + 10 * 86_400
        await deal.door.api.ask(update(bought, {"cancel_at": day}))
    await deal.hear()
    opened = await deal.done("createCheckout", plan="pro")
    deal.stripe.checkout.complete(opened["objectId"])
    await deal.hear()
    assert await deal.plan() == "pro"


async def test_where_several_are_allowed_the_second_is_of_another_plan(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock, SEVERAL) as deal:
        await deal.subscribe("starter")
        assert "holds starter" in await message(deal, plan="starter")
        assert (await deal.done("createCheckout", plan="pro"))["state"] == "CONFIRMED"


async def test_a_key_said_again_after_the_purchase_gives_the_page_that_it_opened(
    deal: Dealing,
) -> None:
    opened = await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    deal.stripe.checkout.complete(opened["objectId"])
    await deal.hear()
    again = await deal.done("createCheckout", plan="pro", idempotencyKey="buy")
    assert again["id"] == opened["id"]


async def test_an_add_on_said_twice_or_too_many_are_refused_before_stripe_is_asked(
    deal: Dealing,
) -> None:
    before = deal.stripe.faults.asked()
    one = {"addOn": "firm_addon", "quantity": 1}
    assert "twice" in await message(deal, plan="firm", addOns=[one] * 2)
    assert "at most 20 lines" in await message(deal, plan="firm", addOns=[one] * 3000)
    assert deal.stripe.faults.asked() == before


async def test_a_code_that_is_not_there_opens_no_page(deal: Dealing) -> None:
    said = await deal.refused("createCheckout", plan="pro", promotionCode="NOTHING")
    assert said["code"] == "PROVIDER_REFUSED"
    assert not deal.stripe.all("checkout.session")
