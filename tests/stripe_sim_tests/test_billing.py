"""Subscriptions in time: changes, trials, failures, ends."""

import pytest
import stripe

from tests.stripe_sim import SimulatedStripe
from tests.stripe_sim_tests.making import price_of, subscribed

Api = stripe.StripeClient


def types(sim: SimulatedStripe, since: int = 0) -> list[str]:
    return [event["type"] for event in sim.events[since:]]


async def test_a_first_payment_that_fails_leaves_it_incomplete_and_then_expired(
    sim: SimulatedStripe, api: Api
) -> None:
    bought = await subscribed(api, sim.customer(card="fails"), await price_of(api))
    assert bought.status == "incomplete"
    sim.advance(hours=22)
    assert sim.get(bought.id)["status"] == "incomplete"
    sim.advance(hours=2)
    assert sim.get(bought.id)["status"] == "incomplete_expired"
    assert sim.get(str(bought.latest_invoice))["status"] == "void"


async def test_a_first_payment_that_comes_later_makes_it_active(
    sim: SimulatedStripe, api: Api
) -> None:
    customer = sim.customer(card="fails")
    bought = await subscribed(api, customer, await price_of(api))
    with pytest.raises(stripe.CardError):
        await api.v1.invoices.pay_async(str(bought.latest_invoice))
    sim.use_card(customer, "ok")
    paid = await api.v1.invoices.pay_async(str(bought.latest_invoice))
    assert paid.status == "paid"
    assert sim.get(bought.id)["status"] == "active"


async def test_an_upgrade_in_the_middle_is_prorated_to_the_cent(
    sim: SimulatedStripe, api: Api
) -> None:
    small, large = await price_of(api, 3100), await price_of(api, 9300)
    bought = await subscribed(api, sim.customer(), small)
    sim.advance(days=15.5)
    item = bought["items"]["data"][0]["id"]
    change = {"items": [{"id": item, "price": large}], "proration_behavior": "always_invoice"}
    preview = await api.v1.invoices.create_preview_async(
        {"subscription": bought.id, "subscription_details": change}  # type: ignore[arg-type]
    )
    assert [line.amount for line in preview.lines.data] == [-1550, 4650]
    assert preview.amount_due == 3100
    made = await api.v1.subscriptions.update_async(bought.id, change)  # type: ignore[arg-type]
    invoice = sim.get(str(made.latest_invoice))
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", 3100)
    assert made["items"]["data"][0]["price"]["id"] == large


async def test_prorations_that_are_not_billed_at_once_wait_for_the_renewal(
    sim: SimulatedStripe, api: Api
) -> None:
    small, large = await price_of(api, 3100), await price_of(api, 9300)
    bought = await subscribed(api, sim.customer(), small)
    sim.advance(days=15.5)
    item = bought["items"]["data"][0]["id"]
    await api.v1.subscriptions.update_async(bought.id, {"items": [{"id": item, "price": large}]})
    preview = await api.v1.invoices.create_preview_async({"subscription": bought.id})
    assert preview.total == -1550 + 4650 + 9300
    sim.advance(days=16)
    invoice = sim.get(sim.get(bought.id)["latest_invoice"])
    assert invoice["amount_paid"] == 12400


async def test_a_downgrade_billed_at_once_is_credit_for_later(
    sim: SimulatedStripe, api: Api
) -> None:
    small, large = await price_of(api, 3100), await price_of(api, 9300)
    customer = sim.customer()
    bought = await subscribed(api, customer, large)
    item = bought["items"]["data"][0]["id"]
    await api.v1.subscriptions.update_async(
        bought.id,
        {"items": [{"id": item, "price": small}], "proration_behavior": "always_invoice"},
    )
    assert sim.get(customer)["balance"] == -6200
    sim.advance(days=32)
    invoice = sim.get(sim.get(bought.id)["latest_invoice"])
    assert (invoice["total"], invoice["amount_due"], invoice["status"]) == (3100, 0, "paid")
    assert sim.get(customer)["balance"] == -3100


async def test_a_new_interval_begins_a_new_cycle_and_is_billed_at_once(
    sim: SimulatedStripe, api: Api
) -> None:
    month, year = await price_of(api, 3100), await price_of(api, 31000, interval="year")
    bought = await subscribed(api, sim.customer(), month)
    sim.advance(days=15.5)
    item = bought["items"]["data"][0]["id"]
    made = await api.v1.subscriptions.update_async(
        bought.id, {"items": [{"id": item, "price": year}]}
    )
    assert sim.get(str(made.latest_invoice))["total"] == 31000 - 1550
    held = made["items"]["data"][0]
    assert held["current_period_end"] - held["current_period_start"] == 365 * 86_400


async def test_a_pending_update_waits_for_its_payment(sim: SimulatedStripe, api: Api) -> None:
    small, large = await price_of(api, 3000), await price_of(api, 9000)
    customer = sim.customer()
    bought = await subscribed(api, customer, small)
    item = bought["items"]["data"][0]["id"]
    sim.payments.fail_next(customer)
    made = await api.v1.subscriptions.update_async(
        bought.id,
        {
            "items": [{"id": item, "price": large}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    assert made.pending_update is not None
    assert made.status == "active"
    assert made["items"]["data"][0]["price"]["id"] == small
    await api.v1.invoices.pay_async(str(made.latest_invoice))
    after = sim.get(bought.id)
    assert after["pending_update"] is None
    assert after["items"]["data"][0]["price"]["id"] == large
    assert "customer.subscription.pending_update_applied" in types(sim)


async def test_a_pending_update_expires_after_23_hours(sim: SimulatedStripe, api: Api) -> None:
    small, large = await price_of(api, 3000), await price_of(api, 9000)
    customer = sim.customer()
    bought = await subscribed(api, customer, small)
    item = bought["items"]["data"][0]["id"]
    sim.payments.fail_always(customer)
    made = await api.v1.subscriptions.update_async(
        bought.id,
        {
            "items": [{"id": item, "price": large}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    sim.advance(hours=23)
    assert sim.get(bought.id)["pending_update"] is None
    assert sim.get(str(made.latest_invoice))["status"] == "void"
    assert types(sim)[-2:] == [
        "payment_intent.canceled",
        "invoice.voided",
    ]
    assert "customer.subscription.pending_update_expired" in types(sim)


async def test_a_pending_update_takes_no_other_parameters(sim: SimulatedStripe, api: Api) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    with pytest.raises(stripe.InvalidRequestError, match="pending_if_incomplete"):
        await api.v1.subscriptions.update_async(
            bought.id, {"metadata": {"a": "b"}, "payment_behavior": "pending_if_incomplete"}
        )


async def test_a_change_that_must_be_paid_is_refused_and_not_made(
    sim: SimulatedStripe, api: Api
) -> None:
    small, large = await price_of(api, 3000), await price_of(api, 9000)
    customer = sim.customer()
    bought = await subscribed(api, customer, small)
    item = bought["items"]["data"][0]["id"]
    sim.payments.fail_next(customer)
    with pytest.raises(stripe.CardError):
        await api.v1.subscriptions.update_async(
            bought.id,
            {
                "items": [{"id": item, "price": large}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "error_if_incomplete",
            },
        )
    after = sim.get(bought.id)
    assert after["items"]["data"][0]["price"]["id"] == small
    assert after["status"] == "active"


async def test_a_trial_warns_three_days_before_and_then_bills(
    sim: SimulatedStripe, api: Api
) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api), trial_period_days=14)
    assert bought.status == "trialing"
    sim.advance(days=10.9)
    assert "customer.subscription.trial_will_end" not in types(sim)
    sim.advance(days=0.2)
    assert types(sim).count("customer.subscription.trial_will_end") == 1
    sim.advance(days=3)
    after = sim.get(bought.id)
    assert after["status"] == "active"
    assert after["billing_cycle_anchor"] == bought.trial_end
    sim.advance(hours=1)
    assert sim.get(after["latest_invoice"])["amount_paid"] == 3000
    assert types(sim).count("customer.subscription.trial_will_end") == 1


@pytest.mark.parametrize(("without", "becomes"), [("cancel", "canceled"), ("pause", "paused")])
async def test_a_trial_without_a_card_ends_as_it_was_told(
    sim: SimulatedStripe, api: Api, without: str, becomes: str
) -> None:
    customer = sim.customer(card=None)
    bought = await subscribed(
        api,
        customer,
        await price_of(api),
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": without}},
    )
    sim.advance(days=8)
    assert sim.get(bought.id)["status"] == becomes
    if becomes == "paused":
        sim.use_card(customer, "ok")
        await api.v1.subscriptions.resume_async(bought.id)
        assert sim.get(bought.id)["status"] == "active"
        assert "customer.subscription.resumed" in types(sim)


async def test_a_renewal_that_fails_is_tried_again_and_then_ends_it(
    sim: SimulatedStripe, api: Api
) -> None:
    customer = sim.customer()
    bought = await subscribed(api, customer, await price_of(api))
    sim.payments.fail_always(customer)
    sim.advance(days=31, hours=1)
    assert sim.get(bought.id)["status"] == "past_due"
    assert sim.get(customer)["delinquent"] is True
    sim.advance(days=16)
    ended = sim.get(bought.id)
    assert ended["status"] == "canceled"
    assert ended["cancellation_details"]["reason"] == "payment_failed"
    assert types(sim).count("invoice.payment_failed") == 4


async def test_a_retry_that_succeeds_makes_it_active_again(sim: SimulatedStripe, api: Api) -> None:
    customer = sim.customer()
    bought = await subscribed(api, customer, await price_of(api))
    sim.payments.fail_next(customer, times=2)
    sim.advance(days=40)
    assert sim.get(bought.id)["status"] == "active"
    assert sim.get(customer)["delinquent"] is False


async def test_it_ends_at_the_period_end_when_asked(sim: SimulatedStripe, api: Api) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    await api.v1.subscriptions.update_async(bought.id, {"cancel_at_period_end": True})
    sim.advance(days=30)
    assert sim.get(bought.id)["status"] == "active"
    sim.advance(days=2)
    assert sim.get(bought.id)["status"] == "canceled"
    assert sim.events[-1]["type"] == "customer.subscription.deleted"
    assert len(sim.all("invoice")) == 1


async def test_an_end_that_was_taken_back_is_none(sim: SimulatedStripe, api: Api) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    await api.v1.subscriptions.update_async(bought.id, {"cancel_at_period_end": True})
    back = await api.v1.subscriptions.update_async(bought.id, {"cancel_at_period_end": False})
    assert (back.cancel_at, back.canceled_at) == (None, None)
    sim.advance(days=32)
    assert sim.get(bought.id)["status"] == "active"


async def test_an_end_now_gives_unused_time_back_where_asked(
    sim: SimulatedStripe, api: Api
) -> None:
    customer = sim.customer()
    bought = await subscribed(api, customer, await price_of(api, 3100))
    sim.advance(days=15.5)
    ended = await api.v1.subscriptions.cancel_async(
        bought.id, {"prorate": True, "invoice_now": True}
    )
    assert ended.status == "canceled"
    assert sim.get(customer)["balance"] == -1550
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await api.v1.subscriptions.cancel_async(bought.id)
    assert refused.value.code == "resource_missing"


async def test_a_schedule_changes_the_plan_at_the_period_end(
    sim: SimulatedStripe, api: Api
) -> None:
    small, large = await price_of(api, 3000), await price_of(api, 9000)
    bought = await subscribed(api, sim.customer(), large)
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    first = schedule.phases[0]
    await api.v1.subscription_schedules.update_async(
        schedule.id,
        {
            "end_behavior": "release",
            "phases": [
                {
                    "start_date": first.start_date,
                    "end_date": first.end_date,
                    "items": [{"price": large, "quantity": 1}],
                },
                {"items": [{"price": small, "quantity": 2}], "proration_behavior": "none"},
            ],
        },
    )
    assert sim.get(bought.id)["schedule"] == schedule.id
    sim.advance(days=31, hours=2)
    after = sim.get(bought.id)
    item = after["items"]["data"][0]
    assert (item["price"]["id"], item["quantity"]) == (small, 2)
    assert item["id"] == bought["items"]["data"][0]["id"]
    assert sim.get(after["latest_invoice"])["amount_paid"] == 6000
    sim.advance(days=32)
    after = sim.get(bought.id)
    assert after["schedule"] is None
    assert sim.get(schedule.id)["status"] == "released"
    assert after["status"] == "active"
    assert sim.get(after["latest_invoice"])["amount_paid"] == 6000


async def test_a_schedule_that_is_released_changes_nothing(sim: SimulatedStripe, api: Api) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    schedule = await api.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    released = await api.v1.subscription_schedules.release_async(schedule.id)
    assert released.status == "released"
    assert sim.get(bought.id)["schedule"] is None


async def test_months_keep_the_day_on_which_they_began(sim: SimulatedStripe, api: Api) -> None:
    sim.advance(days=30)
    bought = await subscribed(api, sim.customer(), await price_of(api))
    ends = []
    for _ in range(3):
        end = sim.get(bought.id)["items"]["data"][0]["current_period_end"]
        ends.append(sim.at(end).date().isoformat())
        sim.advance_to(sim.at(end))
    assert ends == ["2026-04-30", "2026-05-31", "2026-06-30"]
