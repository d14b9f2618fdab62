"""A change of plan that the provider makes by itself as the period ends, from asking to its end."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.billing.acts import Action
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Asked, Reconciliation, Report
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_acts import StripeActs
from api.billing.stripe_shapes import subscription
from api.billing.translation import record_of
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.program import Ran, run_here
from tests.support.scheduling import after_the_period, end_of, record, scheduled, schedules, shown


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


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
    assert (await deal.standing())["pendingOperations"] == []


async def test_an_operator_sees_it(
    deal: Dealing, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    bought = await scheduled(deal)

    async def show(*more: str) -> Ran:
        ran = await asyncio.to_thread(
            run_here,
            *("customers", "show", "acme", *more),
            data_dir=tmp_path,
            DATABASE_URL=database_url,
            REDIS_URL=redis_url,
        )
        assert ran.status == 0, ran.err
        return ran

    until = end_of(deal, bought)
    assert f"to starter at {until:%Y-%m-%d %H:%M:%S}Z" in (await show()).out
    [said] = (await show("--json")).said["subscriptions"]
    assert (said["plan"], said["pending_plan"]) == ("pro", None)
    assert (said["scheduled_plan"], said["scheduled_price"]) == ("starter", "starter")
    assert datetime.fromisoformat(said["scheduled_at"]) == until


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
    wish: dict[str, Any] = {
        "subscription": bought,
        "price": "pro" if undone else "starter",
        "plan_prices": ["starter", "pro", "firm"],
        "beside": {},
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
