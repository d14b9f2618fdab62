"""A change as the period ends, asked of Stripe: what it keeps, and when it cannot be done."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.billing.acts import Action
from api.billing.problems import Unapplicable
from api.billing.stripe_acts import StripeActs
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.scheduling import after_the_period, end_of, scheduled, schedules, shown


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def test_a_trial_and_a_discount_go_on_under_a_schedule(deal: Dealing) -> None:
    v1 = deal.door.api.v1
    coupon: Any = {"percent_off": 50, "duration": "forever", "id": "half"}
    await deal.door.api.ask(v1.coupons.create_async(coupon))
    bought = await deal.subscribe("pro", trial_period_days=14, discounts=[{"coupon": "half"}])
    until = end_of(deal, bought)
    await deal.done("changePlan", plan="starter", when="PERIOD_END")
    await deal.hear()
    assert deal.stripe.get(bought)["status"] == "trialing"
    assert await shown(deal) == ("pro", "starter", until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    deal.stripe.advance_to(until)
    await deal.hear()
    assert await shown(deal) == ("starter", None, None)
    first = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
    assert first["total"] == 2450


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "made at Stripe"])
async def test_a_discount_put_on_later_goes_on_in_the_plan_to_come(
    deal: Dealing, *, ours: bool
) -> None:
    bought = await scheduled(deal)
    if not ours:
        update = deal.door.api.v1.subscription_schedules.update_async
        [schedule] = schedules(deal, "active")
        await deal.door.api.ask(update(schedule["id"], {"metadata": ""}))
    coupon = {"name": "Welcome", "percentOff": 20, "duration": "forever", "code": "WELCOME"}
    await deal.done("createCoupon", as_="support", **coupon)
    if not ours:
        said = await deal.refused("applyPromotionCode", code="WELCOME")
        assert said["code"] == "PROVIDER_REFUSED"
        return
    await deal.done("applyPromotionCode", code="WELCOME")
    await deal.hear()
    assert (await shown(deal))[:2] == ("pro", "starter")
    assert await after_the_period(deal) == "starter"
    paid = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
    assert paid["total"] == 4900 * 80 // 100


async def test_one_that_ends_with_its_period_is_not_to_change_then(deal: Dealing) -> None:
    await deal.subscribe("pro")
    await deal.done("cancelSubscription")
    await deal.hear()
    said = await deal.refused("changePlan", plan="starter", when="PERIOD_END")
    assert (said["code"], said["status"]) == ("PROVIDER_REFUSED", 409)
    assert schedules(deal, "active") == []


async def test_a_refused_change_leaves_no_schedule_behind(deal: Dealing) -> None:
    bought = await deal.subscribe("pro")
    acts = StripeActs(deal.door.api)
    wish = {
        "subscription": bought,
        "price": "starter",
        "plan_prices": ["starter", "pro"],
        "beside": {},
        "when": "period_end",
    }
    planned = await acts.plan(Action.CHANGE_PLAN, wish)
    deal.stripe.advance(days=31)  # asked again when the period has ended
    with pytest.raises(Unapplicable):
        await acts.perform(Action.CHANGE_PLAN, planned.request, "late")
    assert schedules(deal, "active") == []
    assert len(schedules(deal, "released")) == 1
    assert deal.stripe.get(bought)["schedule"] is None


async def test_a_schedule_that_ended_meanwhile_hinders_nobody(deal: Dealing) -> None:
    bought = await scheduled(deal)
    acts = StripeActs(deal.door.api)
    planned = await acts.plan(Action.CANCEL, {"subscription": bought, "mode": "period_end"})
    [schedule] = schedules(deal, "active")
    release = deal.door.api.v1.subscription_schedules.release_async
    await deal.door.api.ask(release(schedule["id"]))
    for _ in range(2):  # and once more, as after an unknown outcome
        await acts.perform(Action.CANCEL, planned.request, "end")
    assert deal.stripe.get(bought)["cancel_at_period_end"] is True


@pytest.mark.parametrize("path", ["/v1/subscription_schedules$", "/v1/subscription_schedules/"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_unknown_outcome_is_one_schedule_in_the_end(
    deal: Dealing, path: str, *, after: bool
) -> None:
    await deal.subscribe("pro")
    deal.stripe.faults.cut_next(path=path, method="POST", after_effect=after)
    begun = await deal.done("changePlan", plan="starter", when="PERIOD_END")
    assert begun["state"] == "PENDING"
    await deal.hear()
    deal.clock.advance(seconds=5)
    assert await deal.operations.run_once(deal.clock.now()) == 1
    await deal.hear()
    assert len(list(deal.stripe.all("subscription_schedule"))) == 1
    assert (await shown(deal))[:2] == ("pro", "starter")
    assert await after_the_period(deal) == "starter"
