"""What a subscription's schedule says, and what follows from it."""

from typing import Any

import pytest
import stripe

from tests.stripe_sim import SimulatedStripe
from tests.stripe_sim_tests.making import price_of, subscribed

Api = stripe.StripeClient


@pytest.mark.parametrize("said", [True, False], ids=["said again", "left out"])
async def test_a_phase_has_the_discounts_and_the_trial_that_it_says(
    sim: SimulatedStripe, api: Api, *, said: bool
) -> None:
    price = await price_of(api)
    await api.v1.coupons.create_async({"percent_off": 50, "duration": "forever", "id": "half"})
    bought = await subscribed(
        api, sim.customer(), price, trial_period_days=14, discounts=[{"coupon": "half"}]
    )
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    first = schedule.phases[0]
    assert first.trial_end == bought.trial_end
    kept: Any = {
        "discounts": [{"discount": first.discounts[0].discount}],
        "trial_end": first.trial_end,
    }
    phase: Any = {
        "start_date": first.start_date,
        "end_date": first.end_date,
        "items": [{"price": price}],
        **(kept if said else {}),
    }
    await api.v1.subscription_schedules.update_async(schedule.id, {"phases": [phase]})
    after = sim.get(bought.id)
    assert (after["status"], len(after["discounts"])) == (
        ("trialing", 1) if said else ("active", 0)
    )


async def test_a_phase_covers_the_present_and_ends_after_it_begins(
    sim: SimulatedStripe, api: Api
) -> None:
    price = await price_of(api)
    bought = await subscribed(api, sim.customer(), price)
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    first = schedule.phases[0]
    before = dict(sim.get(schedule.id))
    for end in (first.start_date, first.start_date + 60):
        sim.advance(hours=1)
        phase: Any = {
            "start_date": first.start_date,
            "end_date": end,
            "items": [{"price": price}],
        }
        with pytest.raises(stripe.InvalidRequestError):
            await api.v1.subscription_schedules.update_async(schedule.id, {"phases": [phase]})
    assert sim.get(schedule.id) == before


async def test_under_a_schedule_the_end_is_the_schedule_s(sim: SimulatedStripe, api: Api) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        await api.v1.subscriptions.update_async(bought.id, {"cancel_at_period_end": True})
    await api.v1.subscription_schedules.release_async(schedule.id)
    after = await api.v1.subscriptions.update_async(bought.id, {"cancel_at_period_end": True})
    assert after.cancel_at_period_end
    again = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    assert again.end_behavior == "cancel"


async def test_a_schedule_is_aborted_with_a_subscription_that_is_not_paid(
    sim: SimulatedStripe, api: Api
) -> None:
    customer = sim.customer()
    bought = await subscribed(api, customer, await price_of(api))
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    long: Any = {
        "phases": [
            {
                "start_date": schedule.phases[0].start_date,
                "items": [{"price": bought["items"]["data"][0]["price"]["id"]}],
                "duration": {"interval": "year", "interval_count": 1},
            }
        ]
    }
    await api.v1.subscription_schedules.update_async(schedule.id, long)
    sim.use_card(customer, "fails")
    sim.advance(days=60)
    assert sim.get(schedule.id)["status"] == "canceled"
    told = [e["type"] for e in sim.events if e["type"].startswith("subscription_schedule.")]
    assert told[-1] == "subscription_schedule.aborted"
