"""A change of plan that the provider makes by itself as the period ends, from asking to its end."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.billing.acts import Action
from api.billing.problems import Unapplicable
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Asked, Reconciliation, Report
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_acts import StripeActs
from api.billing.stripe_shapes import subscription
from api.billing.translation import record_of
from api.catalog import subscriptions
from api.catalog.subscriptions import SubscriptionRecord
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing

SHOWN = """
query ($key: String!) {
  customer(key: $key) {
    plan { key }
    subscriptions { plan { key } pendingPlan { key } pendingPlanAt currentPeriodEnd }
    pendingOperations { state }
  }
}
"""


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def shown(deal: Dealing) -> tuple[str, str | None, str | None]:
    """Return the plan, the plan to come, and when it comes."""
    said = (await deal.ask(SHOWN, key="acme"))["customer"]
    held = said["subscriptions"][-1]
    coming = held["pendingPlan"]
    return said["plan"]["key"], coming and coming["key"], held["pendingPlanAt"]


async def record(deal: Dealing) -> SubscriptionRecord:
    customer = await deal.core.customers.get("acme")
    return (await subscriptions.by_customer(deal.core.database, customer.id))[-1]


async def scheduled(deal: Dealing, plan: str = "starter", price: str = "pro") -> str:
    """Let a holder of pro go down to starter with the period; return the subscription."""
    bought = await deal.subscribe(price)
    deal.stripe.advance(days=2)
    done = await deal.done("changePlan", plan=plan, when="PERIOD_END")
    assert done["state"] == "ANSWERED"
    await deal.hear()
    return bought


def end_of(deal: Dealing, bought: str) -> datetime:
    return deal.stripe.at(deal.stripe.get(bought)["items"]["data"][0]["current_period_end"])


def schedules(deal: Dealing, *status: str) -> list[dict[str, Any]]:
    return [s for s in deal.stripe.all("subscription_schedule") if s["status"] in status]


async def after_the_period(deal: Dealing) -> str:
    """Let the period end, and all that it brings arrive; return the plan."""
    deal.stripe.advance(days=31)
    await deal.hear()
    return await deal.plan()


async def synced(deal: Dealing, *, execute: bool = True) -> Report:
    account = StripeAccount(deal.door)
    compare = Reconciliation(deal.core.database, account, deal.core.revisions)
    asked = Asked(execute=execute)
    found = await compare.run(asked, actor="local:test", reason="a test", at=deal.clock.now())
    await deal.work()
    return found


async def test_it_is_shown_with_its_instant_and_changes_nothing_until_then(deal: Dealing) -> None:
    bought = await scheduled(deal)
    until = end_of(deal, bought)
    assert await shown(deal) == ("pro", "starter", until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    held = await record(deal)
    assert (held.scheduled_plan, held.scheduled_price) == ("starter", "starter")
    assert held.pending_plan is None
    assert await deal.limit("tx_post") == 3000

    deal.stripe.advance_to(until - timedelta(seconds=1))
    await deal.hear()
    assert (await shown(deal))[:2] == ("pro", "starter")
    deal.stripe.advance_to(until)
    await deal.hear()
    assert await shown(deal) == ("starter", None, None)
    assert await deal.limit("tx_post") == 300
    paid = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
    assert paid["total"] == 4900

    assert await after_the_period(deal) == "starter"
    assert deal.stripe.get(bought)["schedule"] is None
    assert await shown(deal) == ("starter", None, None)


async def test_nothing_is_shown_before_the_provider_s_object_was_read(deal: Dealing) -> None:
    await deal.subscribe("pro")
    await deal.done("changePlan", plan="starter", when="PERIOD_END")
    assert (await shown(deal))[1] is None
    await deal.work()  # the look alone
    assert (await shown(deal))[1] == "starter"
    said = (await deal.ask(SHOWN, key="acme"))["customer"]
    assert said["pendingOperations"] == []


@pytest.mark.parametrize(
    ("field", "given", "plan"),
    [
        ("resumeSubscription", {}, "pro"),
        ("changePlan", {"plan": "pro", "when": "PERIOD_END"}, "pro"),
        ("changePlan", {"plan": "pro"}, "pro"),
        ("changePlan", {"plan": "firm"}, "firm"),
        ("cancelSubscription", {}, "free"),
        ("setAddOnQuantity", {"addOn": "firm_addon", "quantity": 2}, "firm"),
    ],
    ids=["resumed", "back later", "back now", "elsewhere now", "canceled", "add-on"],
)
async def test_what_is_asked_later_takes_it_back(
    deal: Dealing, field: str, given: dict[str, Any], plan: str
) -> None:
    await scheduled(deal, price="firm" if "addOn" in given else "pro")
    await deal.done(field, **given)
    await deal.hear()
    assert (await shown(deal))[1:] == (None, None)
    assert (await record(deal)).scheduled_plan is None
    assert schedules(deal, "active") == []
    assert await after_the_period(deal) == plan


async def test_changed_again_the_same_schedule_says_what_was_asked_last(deal: Dealing) -> None:
    bought = await scheduled(deal)
    [schedule] = schedules(deal, "active")
    await deal.done("changePlan", plan="firm", when="PERIOD_END")
    await deal.hear()
    assert (await shown(deal))[1] == "firm"
    assert [s["id"] for s in schedules(deal, "active", "released")] == [schedule["id"]]
    assert await after_the_period(deal) == "firm"
    # Its second phase runs now: it is written anew as well.
    await deal.done("changePlan", plan="starter", when="PERIOD_END")
    await deal.hear()
    assert await shown(deal) == (
        "firm",
        "starter",
        end_of(deal, bought).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    assert await after_the_period(deal) == "starter"
    assert (await shown(deal))[1] is None


@pytest.mark.parametrize("how", ["released", "canceled", "aborted", "completed", "rewritten"])
async def test_what_becomes_of_it_elsewhere_is_followed(deal: Dealing, how: str) -> None:
    bought = await scheduled(deal)
    [schedule] = schedules(deal, "active")
    v1, name = deal.door.api.v1.subscription_schedules, schedule["id"]
    pro, firm = deal.price("pro"), deal.price("firm")
    present = {
        "items": [{"price": pro}],
        "start_date": schedule["current_phase"]["start_date"],
        "end_date": schedule["current_phase"]["end_date"],
    }
    if how == "released":
        await deal.door.api.ask(v1.release_async(name))
    elif how == "canceled":
        await deal.door.api.ask(v1.cancel_async(name))
    elif how == "aborted":
        deal.stripe.use_card(deal.stripe.get(bought)["customer"], "fails")
        deal.stripe.advance(days=60)
    elif how == "completed":
        said: Any = {"phases": [present], "end_behavior": "cancel"}
        await deal.door.api.ask(v1.update_async(name, said))
        deal.stripe.advance(days=31)
    else:
        said = {
            "phases": [present, {"items": [{"price": firm}], "duration": {"interval": "month"}}]
        }
        await deal.door.api.ask(v1.update_async(name, said))
    told = "subscription_schedule." + ("updated" if how == "rewritten" else how)
    assert told in {event["type"] for event in deal.stripe.events}
    await deal.hear()
    assert (await record(deal)).scheduled_plan == ("firm" if how == "rewritten" else None)
    plan = "pro" if how in ("released", "rewritten") else "free"
    assert (await shown(deal))[0] == plan


@pytest.mark.parametrize("told", ["released", "updated"])
async def test_the_schedule_s_own_event_is_enough(deal: Dealing, told: str) -> None:
    """Every other event of it is lost."""
    await scheduled(deal)
    [schedule] = schedules(deal, "active")
    if told == "released":
        release = deal.door.api.v1.subscription_schedules.release_async
        await deal.door.api.ask(release(schedule["id"]))
    else:
        await deal.done("changePlan", plan="firm", when="PERIOD_END")
        await deal.core.database.execute("delete from webhook_events where origin = 'own'")
    deal.stripe.webhooks.drop("customer.*")
    await deal.hear(f"subscription_schedule.{told}")
    assert (await shown(deal))[1] == (None if told == "released" else "firm")


@pytest.mark.parametrize("seed", range(4))
async def test_events_twice_late_and_out_of_order_do_no_harm(deal: Dealing, seed: int) -> None:
    await deal.subscribe("pro")
    for plan in ("starter", "firm", "pro", "starter"):
        deal.stripe.advance(hours=1)
        await deal.done("changePlan", plan=plan, when="PERIOD_END")
        deal.stripe.webhooks.scramble(random.Random(seed), duplicate=0.5, delay=0.5)  # noqa: S311 - chance of a test
        await deal.hear()
    first = deal.stripe.events[0]["id"]
    for event in list(deal.stripe.events):
        if event["type"].startswith("subscription_schedule."):
            deal.stripe.webhooks.resend(event["id"])
    deal.stripe.webhooks.resend(first)
    deal.stripe.webhooks.reverse()
    await deal.hear()
    assert (await shown(deal))[:2] == ("pro", "starter")
    assert await after_the_period(deal) == "starter"
    deal.stripe.webhooks.resend(first)
    await deal.hear()
    assert await shown(deal) == ("starter", None, None)


async def test_it_is_never_taken_for_a_change_that_was_abandoned(deal: Dealing) -> None:
    """SUB-9 drops what was not paid for 72 hours; this waits for its day."""
    await scheduled(deal)
    account = StripeAccount(deal.door)
    queue = ReconciliationQueue(deal.core.database, account, deal.core.revisions)
    for _ in range(3):
        assert await queue.run_once(deal.clock.now()) == 0
        deal.stripe.advance(hours=80)
        await deal.hear()
    assert await queue.list_() == []
    assert (await shown(deal))[:2] == ("pro", "starter")
    assert len(schedules(deal, "active")) == 1


async def test_what_is_unpaid_and_what_is_scheduled_are_kept_apart(deal: Dealing) -> None:
    """The unpaid change is shown, as it may come at any moment; it comes without an instant."""
    await scheduled(deal)
    deal.stripe.payments.fail_next()
    await deal.done("changePlan", plan="firm")
    await deal.hear()
    held = await record(deal)
    assert (held.pending_plan, held.scheduled_plan) == ("firm", None)
    assert (await shown(deal))[1:] == ("firm", None)


@pytest.mark.parametrize("undone", [False, True], ids=["made", "taken back"])
async def test_reconciliation_compares_it(deal: Dealing, *, undone: bool) -> None:
    bought = await deal.subscribe("pro")
    if undone:
        deal.stripe.advance(days=1)
        await deal.done("changePlan", plan="starter", when="PERIOD_END")
        await deal.hear()
    assert (await synced(deal)).differing == 0
    api = StripeActs(deal.door.api)
    wish = {
        "subscription": bought,
        "price": "pro" if undone else "starter",
        "plan_prices": ["starter", "pro", "firm"],
        "when": "period_end",
    }
    planned = await api.plan(Action.CHANGE_PLAN, wish)
    await api.perform(Action.CHANGE_PLAN, planned.request, "outside")
    deal.stripe.webhooks.drop("*")
    await deal.hear()
    [found] = (await synced(deal, execute=False)).differences
    names = {name for name, _, _ in found.fields}
    assert names == {"scheduled_plan", "scheduled_price", "scheduled_at"}
    await synced(deal)
    assert (await shown(deal))[1] == (None if undone else "starter")
    assert (await synced(deal)).differing == 0


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


async def test_a_state_that_does_not_tell_its_schedule_leaves_what_is_known(deal: Dealing) -> None:
    """As events do, and exports of a list: they name a schedule, and say nothing of it."""
    bought = await scheduled(deal)
    known = await record(deal)
    catalog = deal.core.revisions.newest.catalog
    for schedule, kept in ((deal.stripe.get(bought)["schedule"], "starter"), (None, None)):
        told = subscription(deal.stripe.get(bought) | {"schedule": schedule})
        made = record_of(
            catalog,
            told,
            provider="stripe",
            customer_id=known.customer_id,
            known=known,
            created_at=deal.clock.now(),
            event_id="evt_1",
        )
        assert made.scheduled_plan == kept
        assert replace(made, provider_created_at=None).plan == "pro"
