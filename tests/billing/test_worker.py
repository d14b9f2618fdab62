"""What follows from events where nothing but events tells of the provider's objects."""

import asyncio
from datetime import timedelta

import pytest

from api.billing.payers import Payers
from api.billing.provider import Hint, Payload
from api.billing.stripe_door import StripeDoor
from api.billing.worker import InboxWorker
from api.catalog.customers import CustomerInput
from api.domain.entitlements import SubscriptionStatus
from tests.support.billing import Desk, desk
from tests.support.clock import FakeClock
from tests.support.stripe_events import SECRET, Life, event, subscription
from tests.support.waiting import eventually

_WAITING_FOR_A_LOCK = (
    "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
)


@pytest.fixture
def life(hearsay: Desk) -> Life:
    return Life("acme", hearsay.clock.now())


@pytest.fixture
def named(hearsay: Desk) -> Life:
    """Return a life whose subscription names its customer itself."""
    return Life("acme", hearsay.clock.now(), named=True)


async def test_a_checkout_and_its_subscription_give_the_plan(hearsay: Desk, life: Life) -> None:
    await hearsay.tell(life.checked_out(), life.created(), life.became("active"))
    assert await hearsay.plan("acme") == "starter"
    assert await hearsay.states() == ["applied"] * 3


async def test_a_subscription_that_comes_before_its_checkout_waits_for_it(
    hearsay: Desk, life: Life
) -> None:
    early, checkout = life.created("active"), life.checked_out()
    await hearsay.tell(early)
    waiting = await hearsay.event(early)
    assert (waiting.state, waiting.problem) == ("failed", "unknown_customer")
    await hearsay.tell(checkout)
    assert await hearsay.plan("acme") == "starter"
    assert (await hearsay.event(early)).error is None


async def test_a_parked_subscription_is_taken_up_when_its_checkout_comes(
    hearsay: Desk, life: Life
) -> None:
    early, checkout = life.created("active"), life.checked_out()
    await hearsay.tell(early)
    for _ in range(10):
        hearsay.clock.advance(minutes=11)
        await hearsay.work()
    assert (await hearsay.event(early)).state == "parked"
    await hearsay.tell(checkout)
    assert await hearsay.plan("acme") == "starter"


async def test_the_record_holds_what_the_subscription_says(hearsay: Desk, named: Life) -> None:
    await hearsay.tell(named.took(pro_monthly=1, more_seats_monthly=4), named.created("active"))
    (held,) = await hearsay.held("acme")
    begin = named.at
    assert held.plan == "pro"
    assert held.price == "pro_monthly"
    assert held.add_ons == (("more_seats", 4),)
    assert held.status is SubscriptionStatus.ACTIVE
    assert held.current_period_start == held.billing_anchor == begin
    assert held.current_period_end == begin + timedelta(days=31)
    assert (held.ends_at, held.cancel_at_period_end, held.trial_ends_at) == (None, False, None)


async def test_an_older_event_never_overwrites_a_newer_one(hearsay: Desk, named: Life) -> None:
    old = named.created("active")
    new = named.later(seconds=1).took(pro_monthly=1)
    await hearsay.tell(new, old)
    assert await hearsay.plan("acme") == "pro"
    assert await hearsay.states() == ["applied", "applied"]


async def test_of_one_second_the_end_wins_whatever_comes_last(hearsay: Desk, named: Life) -> None:
    begun, ended = named.created("active"), named.deleted()
    await hearsay.tell(ended, begun)
    assert await hearsay.plan("acme") == "free"


async def test_the_same_event_twice_is_applied_once(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    await hearsay.tell(told)
    version = (await hearsay.core.customers.get("acme")).version
    await hearsay.tell(told)
    assert (await hearsay.core.customers.get("acme")).version == version
    assert await hearsay.count("webhook_events") == 1


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("incomplete", "free"),
        ("incomplete_expired", "free"),
        ("trialing", "starter"),
        ("active", "starter"),
        ("past_due", "starter"),
        ("paused", "free"),
        ("unpaid", "free"),
        ("canceled", "free"),
    ],
)
async def test_every_status_leads_to_its_plan(
    hearsay: Desk, named: Life, status: str, plan: str
) -> None:
    await hearsay.tell(named.created(status))
    assert await hearsay.plan("acme") == plan


async def test_a_cancellation_at_period_end_ends_by_itself(hearsay: Desk, named: Life) -> None:
    await hearsay.tell(named.created("active"), named.later(days=3).ends_at_period_end())
    assert await hearsay.plan("acme") == "starter"
    hearsay.clock.advance(days=31)
    assert await hearsay.plan("acme") == "free"


async def test_an_invoice_tells_nothing_of_rights_by_itself(hearsay: Desk, named: Life) -> None:
    await hearsay.tell(named.created("active"), named.invoiced(paid=False))
    assert await hearsay.plan("acme") == "starter"
    assert await hearsay.states() == ["applied", "applied"]


async def test_an_invoice_of_no_subscription_is_kept_and_gives_nothing(
    hearsay: Desk, life: Life
) -> None:
    told = life.invoiced(paid=True)
    told["data"]["object"]["parent"] = None
    await hearsay.tell(told)
    assert (await hearsay.event(told)).state == "applied"
    assert await hearsay.plan("acme") == "free"
    kept = await hearsay.core.database.fetchrow("select * from invoices")
    assert kept is not None
    assert (kept["subscription_id"], kept["status"]) == (None, "paid")


async def test_an_unknown_price_is_kept_tried_again_and_parked(hearsay: Desk, named: Life) -> None:
    named.took(enterprise=1)
    told = named.created("active")
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert (seen.state, seen.problem, seen.attempts) == ("failed", "unknown_price", 1)
    assert "'enterprise'" in (seen.error or "")
    assert seen.next_attempt_at == hearsay.clock.now() + timedelta(seconds=2)
    pauses: list[timedelta] = []
    while (seen := await hearsay.event(told)).state == "failed":
        assert len(pauses) < 20
        pauses.append(seen.next_attempt_at - hearsay.clock.now())
        hearsay.clock.set(seen.next_attempt_at)
        assert await hearsay.work() == 1
    assert [p.total_seconds() for p in pauses] == [2, 4, 8, 16, 32, 64, 128]
    assert (seen.state, seen.attempts) == ("parked", 8)
    hearsay.clock.advance(days=30)
    assert await hearsay.work() == 0


async def test_a_price_without_a_lookup_key_says_what_to_do(hearsay: Desk, named: Life) -> None:
    named.state["items"]["data"][0]["price"]["lookup_key"] = None
    told = named.created("active")
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert seen.problem == "unknown_price"
    assert "lookup key" in (seen.error or "")


async def test_a_subscription_that_ended_may_hold_prices_sold_no_more(
    hearsay: Desk, named: Life
) -> None:
    begun = named.created("active")
    named.later(days=1).took(retired=1)
    await hearsay.tell(begun, named.deleted())
    assert await hearsay.plan("acme") == "free"
    (held,) = await hearsay.held("acme")
    assert (held.plan, held.status) == ("starter", SubscriptionStatus.CANCELED)


async def test_a_status_nobody_knows_is_kept_with_what_to_do(hearsay: Desk, named: Life) -> None:
    told = named.created("hibernating")
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert seen.problem == "unreadable"
    assert "'hibernating'" in (seen.error or "")


async def test_a_customer_who_does_not_exist_is_named(hearsay: Desk) -> None:
    told = Life("nobody", hearsay.clock.now(), named=True).created("active")
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert seen.problem == "unknown_customer"
    assert "'nobody'" in (seen.error or "")


async def test_an_event_in_other_words_is_parked_at_once(hearsay: Desk, named: Life) -> None:
    told = named.created("active") | {"api_version": "2020-08-27"}
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert (seen.state, seen.problem, seen.attempts) == ("parked", "other_version", 1)
    assert "2026-10-28.endive" in (seen.error or "")


async def test_a_list_of_items_that_was_cut_is_parked_at_once(hearsay: Desk, named: Life) -> None:
    named.state["items"]["has_more"] = True
    told = named.created("active")
    await hearsay.tell(told)
    assert (await hearsay.event(told)).problem == "cut_short"
    assert await hearsay.held("acme") == ()


async def test_events_that_fail_do_not_hinder_others(hearsay: Desk, named: Life) -> None:
    stranger = Life("nobody", hearsay.clock.now(), named=True).created("active")
    broken = subscription("sub_x", "cus_x", start=named.at, metadata={"headroom_customer": "acme"})
    broken["items"]["data"][0]["current_period_end"] = "soon"
    odd = event("customer.subscription.updated", broken, named.at, event_id="evt_broken")
    for told in (stranger, odd, named.created("active")):
        await hearsay.deliver(told)
    await hearsay.work()
    assert await hearsay.states() == ["failed", "failed", "applied"]
    assert await hearsay.plan("acme") == "starter"


async def test_a_checkout_by_another_customer_than_the_linked_one_is_not_believed(
    hearsay: Desk, life: Life
) -> None:
    await hearsay.tell(life.checked_out(), life.created("active"))
    other = Life("other", life.at)
    other.customer = life.customer

    await hearsay.core.changes.upsert_customer(CustomerInput("other"), life.at, "test")
    told = other.checked_out()
    await hearsay.tell(told)
    assert (await hearsay.event(told)).problem == "link_conflict"
    assert await hearsay.plan("other") == "free"


async def test_a_subscription_that_names_another_customer_moves_to_it(
    hearsay: Desk, named: Life
) -> None:

    await hearsay.core.changes.upsert_customer(CustomerInput("other"), named.at, "test")
    await hearsay.tell(named.created("active"))
    version = (await hearsay.core.customers.get("acme")).version
    named.later(seconds=5).state["metadata"]["headroom_customer"] = "other"
    await hearsay.tell(named.became("active"))
    assert await hearsay.plan("acme") == "free"
    # What acme may do has changed as well, so the gate must hear of it.
    assert (await hearsay.core.customers.get("acme")).version == version + 1
    assert await hearsay.plan("other") == "starter"


async def test_a_subscription_in_two_plans_counts_as_the_better(hearsay: Desk, named: Life) -> None:
    await hearsay.tell(named.took(pro_monthly=1, starter_monthly=1), named.became("active"))
    assert await hearsay.plan("acme") == "pro"


async def test_the_event_row_knows_its_customer_and_correlation(hearsay: Desk, named: Life) -> None:
    told = named.created("active")
    await hearsay.tell(told)
    seen = await hearsay.event(told)
    assert seen.customer_id == (await hearsay.core.customers.get("acme")).id
    assert seen.correlation_id
    assert seen.object_id == named.subscription_id


async def test_an_event_that_fails_for_want_of_a_link_made_this_very_moment_is_not_left_waiting(
    hearsay: Desk, life: Life
) -> None:
    early = life.created("active")
    await hearsay.deliver(early)
    at = hearsay.clock.now()
    database = hearsay.core.database
    hint = hearsay.door.hint("checkout.session.completed", life.checked_out())
    async with database.transaction() as linking:
        await Payers(hearsay.door.name).introduce(linking, hint, at)
        failing = asyncio.create_task(hearsay.worker.run_once(at))
        await eventually(lambda: database.fetchval(_WAITING_FOR_A_LOCK))
    await failing
    await hearsay.work()
    assert await hearsay.plan("acme") == "starter"


class Stumbling(StripeDoor):
    """A door with a bug: it stumbles over one of its own events."""

    def hint(self, event_type: str, payload: Payload) -> Hint:
        if payload["id"] == "evt_stone":
            raise KeyError("stone")
        return super().hint(event_type, payload)


async def test_a_bug_is_kept_with_its_event_and_stops_nothing_else(
    hearsay: Desk, named: Life
) -> None:
    core = hearsay.core
    door = Stumbling(secrets=(SECRET,))
    worker = InboxWorker(core.database, door, core.changes, core.revisions)
    stone = named.created("active") | {"id": "evt_stone"}
    for told in (stone, named.became("active")):
        await hearsay.deliver(told)
    assert await worker.run_once(hearsay.clock.now()) == 2
    seen = await hearsay.event("evt_stone")
    assert (seen.state, seen.problem, seen.error) == ("failed", "bug", "KeyError: 'stone'")
    assert await hearsay.plan("acme") == "starter"
    hearsay.clock.advance(seconds=2)
    await hearsay.work()
    assert (await hearsay.event("evt_stone")).state == "applied"


async def test_while_the_counters_are_out_of_reach_events_are_applied_and_told_later(
    database_url: str, clock: FakeClock
) -> None:
    async with desk(database_url, "redis://127.0.0.1:9/0", clock) as opened:
        await opened.tell(Life("acme", clock.now(), named=True).created("active"))
        assert await opened.states() == ["applied"]
        assert await opened.plan("acme") == "starter"
        row = await opened.core.database.fetchrow("select * from customers where key = 'acme'")
        assert row is not None
        assert row["published_version"] < row["version"]
