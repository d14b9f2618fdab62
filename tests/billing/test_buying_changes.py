"""A change of plan takes its add-ons along, gives up what is not sold beside it, and says so."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.scene import BOOKKEEPER

YEARLY = BOOKKEEPER.replace(
    "[plans.firm.prices]",
    '[plans.firm.prices]\nfirm_yearly = { amount_minor = 299000, currency = "usd",'
    ' interval = "year" }',
).replace(
    "[add_ons.firm_addon.prices]",
    '[add_ons.firm_addon.prices]\nfirm_addon_yearly = { amount_minor = 19000, currency = "usd",'
    ' interval = "year" }',
)
YEN = BOOKKEEPER.replace('currency = "usd"', 'currency = "jpy"')
PREVIEW = """
query ($input: PlanPreviewInput!) {
  previewPlanChange(input: $input) {
    currency dueNowMinor nextAmountMinor removedAddOns over { feature limit }
  }
}
"""
CHANGE = """
mutation ($input: ChangePlanInput!) { changePlan(input: $input) { state removedAddOns } }
"""


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def previewed(deal: Dealing, **given: Any) -> Any:  # noqa: ANN401 - any answer
    return (await deal.post(PREVIEW, input=given))["data"]["previewPlanChange"]


async def changed(deal: Dealing, **given: Any) -> Any:  # noqa: ANN401 - likewise
    return (await deal.post(CHANGE, input=given))["data"]["changePlan"]


def items(deal: Dealing, bought: str) -> list[tuple[str, int]]:
    held = deal.stripe.get(bought)["items"]["data"]
    return sorted((one["price"]["lookup_key"], one["quantity"]) for one in held)


async def with_add_ons(deal: Dealing) -> str:
    bought = await deal.subscribe("firm")
    await deal.done("setAddOnQuantity", addOn="firm_addon", quantity=5)
    await deal.hear()
    return bought


async def test_a_downgrade_gives_up_what_is_not_sold_beside_the_new_plan(deal: Dealing) -> None:
    bought = await with_add_ons(deal)
    deal.stripe.advance(days=10)
    before = await previewed(deal, plan="starter")
    assert before["removedAddOns"] == ["firm_addon"]

    assert (await changed(deal, plan="starter"))["removedAddOns"] == ["firm_addon"]
    await deal.hear()
    assert items(deal, bought) == [("starter", 1)]
    bill = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
    assert bill["total"] == before["dueNowMinor"]
    deal.stripe.advance(days=32)
    await deal.hear()
    billed = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
    assert billed["total"] == before["nextAmountMinor"] == 4900


async def test_as_the_period_ends_they_go_with_the_plan_they_were_sold_beside(
    deal: Dealing,
) -> None:
    bought = await with_add_ons(deal)
    given = {"plan": "starter", "when": "PERIOD_END"}
    assert (await previewed(deal, **given))["removedAddOns"] == ["firm_addon"]
    assert (await changed(deal, **given))["removedAddOns"] == ["firm_addon"]
    await deal.hear()
    assert items(deal, bought) == [("firm", 1), ("firm_addon", 5)]
    deal.stripe.advance(days=32)
    await deal.hear()
    assert items(deal, bought) == [("starter", 1)]


async def test_an_add_on_that_is_left_over_can_be_given_up_beside_any_plan(deal: Dealing) -> None:
    bought = await deal.subscribe("starter")
    left: Any = {"items": [{"price": deal.price("firm_addon"), "quantity": 2}]}
    await deal.door.api.ask(deal.door.api.v1.subscriptions.update_async(bought, left))
    await deal.hear()
    more = await deal.refused("setAddOnQuantity", addOn="firm_addon", quantity=3)
    assert more["code"] == "INVALID_INPUT"
    await deal.done("setAddOnQuantity", addOn="firm_addon", quantity=0)
    assert items(deal, bought) == [("starter", 1)]


async def test_from_months_to_years_add_ons_move_along_and_back(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock, YEARLY) as deal:
        bought = await with_add_ons(deal)
        deal.stripe.advance(days=10)
        for price, held in (
            ("firm_yearly", [("firm_addon_yearly", 5), ("firm_yearly", 1)]),
            ("firm", [("firm", 1), ("firm_addon", 5)]),
        ):
            cost = await previewed(deal, plan="firm", price=price)
            assert cost["removedAddOns"] == []
            done = await deal.done("changePlan", plan="firm", price=price)
            assert done["waitsForPayment"] is False
            await deal.hear()
            assert items(deal, bought) == held
            bill = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
            assert bill["total"] == cost["dueNowMinor"]
        assert await deal.plan() == "firm"


async def test_a_currency_without_small_units_is_previewed_as_it_is_billed(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock, YEN) as deal:
        bought = await deal.subscribe("starter")
        deal.stripe.advance(days=10)
        cost = await previewed(deal, plan="pro")
        assert (cost["currency"], cost["nextAmountMinor"]) == ("jpy", 9900)
        await deal.done("changePlan", plan="pro")
        bill = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
        assert bill["amount_paid"] == cost["dueNowMinor"]
        assert 0 < cost["dueNowMinor"] < 5000


async def test_of_several_subscriptions_the_one_that_is_meant_is_previewed(deal: Dealing) -> None:
    first = await deal.subscribe("starter")
    await deal.subscribe("pro")
    (error,) = (await deal.post(PREVIEW, input={"plan": "firm"}))["errors"]
    assert "say which one" in error["message"]
    cost = await previewed(deal, plan="firm", subscription=first)
    assert cost["dueNowMinor"] == 29_900 - 4_900


async def test_a_limit_on_calls_in_the_middle_is_asked_again_and_done_once(deal: Dealing) -> None:
    """A schedule is made, and Stripe throttles before it says what is to come."""
    bought = await deal.subscribe("pro")
    deal.stripe.faults.fail_next(status=429, path="/v1/subscription_schedules/", method="POST")
    begun = await deal.done("changePlan", plan="starter", when="PERIOD_END")
    assert begun["state"] == "PENDING"
    deal.clock.advance(seconds=5)
    assert await deal.operations.run_once(deal.clock.now()) == 1
    await deal.hear()
    assert len(deal.stripe.all("subscription_schedule")) == 1
    held = (await deal.standing())["subscriptions"][0]
    assert held["pendingPlan"] == {"key": "starter"}
    deal.stripe.advance(days=32)
    await deal.hear()
    assert items(deal, bought) == [("starter", 1)]


async def test_a_limit_between_releasing_a_schedule_and_the_change_is_asked_again(
    deal: Dealing,
) -> None:
    bought = await deal.subscribe("pro")
    await deal.done("changePlan", plan="starter", when="PERIOD_END")
    await deal.hear()
    deal.stripe.faults.fail_next(status=429, path="/v1/subscriptions/", method="POST")
    assert (await deal.done("changePlan", plan="firm"))["state"] == "PENDING"
    deal.clock.advance(seconds=5)
    await deal.operations.run_once(deal.clock.now())
    await deal.hear()
    assert items(deal, bought) == [("firm", 1)]
    assert deal.stripe.get(bought)["schedule"] is None


async def test_what_was_to_end_at_an_instant_goes_on(deal: Dealing) -> None:
    bought = await deal.subscribe("pro")
    update = deal.door.api.v1.subscriptions.update_async
    instant = int(deal.clock.now().timestamp()) + 10 * 86_400
    await deal.door.api.ask(update(bought, {"cancel_at": instant}))
    await deal.hear()
    await deal.done("resumeSubscription")
    assert deal.stripe.get(bought)["cancel_at"] is None
    deal.stripe.advance(days=20)
    await deal.hear()
    assert await deal.plan() == "pro"
