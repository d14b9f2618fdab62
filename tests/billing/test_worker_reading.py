"""Law 6: the lock on the object, then its reading, then the writing; events are only hints."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from api.billing.claims import HELD_FOR, Claims
from api.billing.worker import InboxWorker
from api.catalog.customers import CustomerInput
from api.domain.entitlements import SubscriptionStatus
from tests.support.billing import Desk
from tests.support.stripe_events import Life, customer
from tests.support.stripe_server import StripeServer


@pytest.fixture
def life(reading: Desk) -> Life:
    """Return a life at the simulated Stripe; what it holds there is put there by the test."""
    return Life("acme", reading.clock.now(), named=True)


@contextmanager
def slow(stripe: StripeServer) -> Iterator[asyncio.Event]:
    """Decide the next answer at once, and send it only when the event that is given happens."""
    gate = stripe.gate = asyncio.Event()
    stripe.arrived.clear()
    try:
        yield gate
    finally:
        gate.set()
        stripe.gate = None


def second_worker(desk: Desk) -> InboxWorker:
    return InboxWorker(desk.core.database, desk.door, desk.core.changes, desk.core.revisions)


async def test_the_object_decides_and_not_the_event(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    told = life.created("active")
    life.took(pro_monthly=1)
    stripe.holds(life)
    await reading.tell(told)
    assert await reading.plan("acme") == "pro"


async def test_neither_order_nor_instant_of_events_matters(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    first = life.created("active")
    last = life.later(days=1).deleted()
    first["created"] = last["created"] + 1000
    stripe.holds(life)
    await reading.tell(last, first)
    assert await reading.plan("acme") == "free"


async def test_one_reading_serves_all_hints_that_came_before_it(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    paid = life.invoiced(paid=True)
    for told in (life.created(), life.became("active"), paid):
        await reading.deliver(told)
    stripe.holds(life).put(paid["data"]["object"])
    assert await reading.work() == 3
    assert stripe.reads_of(life.subscription_id) == 1
    assert await reading.states() == ["applied"] * 3
    assert await reading.plan("acme") == "starter"


async def test_an_invoice_alone_has_its_subscription_read(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    life.created("past_due")
    unpaid = life.invoiced(paid=False)
    stripe.holds(life).put(unpaid["data"]["object"])
    await reading.tell(unpaid)
    (held,) = await reading.held("acme")
    assert held.status is SubscriptionStatus.PAST_DUE


async def test_while_an_object_is_being_read_nobody_else_reads_it(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    await reading.deliver(life.created("active"))
    stripe.holds(life)
    at = reading.clock.now()
    with slow(stripe) as gate:
        first = asyncio.create_task(reading.worker.run_once(at))
        await stripe.arrived.wait()
        stripe.gate = None  # the first answer is on its way, with the old state in it
        await reading.deliver(life.took(pro_monthly=1))
        stripe.holds(life)
        assert await second_worker(reading).run_once(at) == 0
        gate.set()
        assert await first == 1
    assert await reading.plan("acme") == "starter"
    assert await reading.work() == 1
    assert await reading.plan("acme") == "pro"


async def test_a_holder_that_was_overtaken_writes_nothing(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    told = life.created("active")
    await reading.deliver(told)
    stripe.holds(life)
    with slow(stripe) as gate:
        first = asyncio.create_task(reading.worker.run_once(reading.clock.now()))
        await stripe.arrived.wait()
        stripe.gate = None
        life.took(pro_monthly=1)
        stripe.holds(life)
        later = reading.clock.now() + HELD_FOR
        assert await second_worker(reading).run_once(later) == 1
        assert await reading.plan("acme") == "pro"
        gate.set()
        await first
    assert await reading.plan("acme") == "pro"
    assert (await reading.event(told)).state == "applied"
    assert await reading.work() == 0


async def test_no_transaction_is_open_while_the_provider_is_asked(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    await reading.deliver(life.created("active"))
    stripe.holds(life)
    with slow(stripe) as gate:
        working = asyncio.create_task(reading.worker.run_once(reading.clock.now()))
        await stripe.arrived.wait()
        open_ones = await reading.core.database.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and xact_start is not null"
        )
        gate.set()
        await working
    assert open_ones == 0


async def test_a_slow_reading_keeps_no_other_event_waiting(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    await reading.core.changes.upsert_customer(
        CustomerInput("globex"), reading.clock.now(), "local:tester"
    )
    other = Life("globex", reading.clock.now(), named=True)
    told, of_other = life.created("active"), other.created("active")
    stripe.holds(life).holds(other)
    done = asyncio.Event()
    await reading.deliver(told)
    with slow(stripe) as answered:
        await reading.worker.begin(reading.clock.now(), done.set)
        await stripe.arrived.wait()
        stripe.gate = None
        await reading.deliver(of_other)
        assert await reading.worker.begin(reading.clock.now(), done.set) == 1
        await done.wait()
        assert await reading.plan("globex") == "starter"
        assert await reading.plan("acme") == "free"
        answered.set()
        assert await reading.worker.run_once(reading.clock.now()) == 0
    assert await reading.plan("acme") == "starter"


async def test_what_a_worker_held_that_died_is_done_by_another(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    await reading.deliver(life.created("active"))
    stripe.holds(life)
    [held] = await Claims(reading.core.database, "stripe").take(reading.clock.now(), 1)
    assert held.object_id == life.subscription_id
    assert await reading.work() == 0
    reading.clock.advance(seconds=HELD_FOR.total_seconds())
    assert await reading.work() == 1
    assert await reading.plan("acme") == "starter"


async def test_an_outage_of_the_provider_is_waited_out_however_long(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    told = life.created("active")
    await reading.deliver(told)
    stripe.holds(life)
    for _ in range(12):
        stripe.failures.append(503)
        assert await reading.work() == 1
        seen = await reading.event(told)
        assert (seen.state, seen.problem) == ("failed", "unavailable")
        assert seen.next_attempt_at - reading.clock.now() <= timedelta(minutes=10)
        reading.clock.set(seen.next_attempt_at)
    assert await reading.work() == 1
    assert await reading.plan("acme") == "starter"


async def test_an_object_that_the_provider_does_not_have_is_tried_again_and_parked(
    reading: Desk, life: Life
) -> None:
    told = life.created("active")
    await reading.deliver(told)
    for _ in range(8):
        assert await reading.work() == 1
        reading.clock.advance(minutes=10)
    assert await reading.work() == 0
    seen = await reading.event(told)
    assert (seen.state, seen.problem) == ("parked", "not_at_provider")
    assert "STRIPE_SECRET_KEY" in (seen.error or "")


async def test_an_event_in_other_words_is_read_again_at_ours(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    told = life.created("active") | {"api_version": "2020-08-27"}
    del told["data"]["object"]["items"]
    stripe.holds(life)
    await reading.tell(told)
    assert await reading.plan("acme") == "starter"
    assert (await reading.event(told)).state == "applied"


async def test_an_invoice_in_words_that_hide_its_subscription_is_read_again(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    life.created("active")
    paid = life.invoiced(paid=True)
    stripe.holds(life).put(paid["data"]["object"])
    told = paid | {"api_version": "2031-01-01"}
    told["data"] = {"object": {"id": paid["data"]["object"]["id"], "parent": "elsewhere"}}
    await reading.tell(told)
    assert await reading.plan("acme") == "starter"
    assert (await reading.event(told)).object_id == life.subscription_id


async def test_the_provider_s_customer_may_say_who_it_is(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    life.state["metadata"] = {}
    told = life.created("active")
    stripe.holds(life).put(customer(life.customer, metadata={"headroom_customer": "acme"}))
    await reading.tell(told)
    assert await reading.plan("acme") == "starter"
    await reading.tell(life.became("active"))
    assert stripe.reads_of(life.customer) == 1


async def test_a_checkout_alone_has_its_subscription_read(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    life.state["metadata"] = {}
    life.became("active")
    stripe.holds(life)
    await reading.tell(life.checked_out())
    assert await reading.plan("acme") == "starter"


async def test_every_item_of_a_long_list_counts(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    told = life.created("active")
    life.took(starter_monthly=1, **{f"more_{n}": 1 for n in range(11)}, more_seats_monthly=5)
    for held in life.state["items"]["data"][1:-1]:
        held["price"]["lookup_key"] = "more_seats_monthly"
    stripe.holds(life)
    await reading.tell(told)
    (held,) = await reading.held("acme")
    assert held.add_ons == (("more_seats", 16),)


async def test_several_workers_handle_a_burst_once_each(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    for told in (life.created(), life.became("active"), life.took(pro_monthly=1)):
        await reading.deliver(told)
    stripe.holds(life)
    at = reading.clock.now()
    handled = 0
    # One that sees an event in another's hands leaves it for its next look.
    while set(await reading.states()) != {"applied"}:
        workers = (second_worker(reading).run_once(at) for _ in range(6))
        handled += sum(await asyncio.gather(*workers))
    assert handled == 3
    assert await reading.plan("acme") == "pro"
    assert await reading.count("provider_locks") == 0


async def test_one_bad_hint_does_not_hold_back_the_others_of_its_object(
    reading: Desk, stripe: StripeServer, life: Life
) -> None:
    checkout = life.checked_out()
    checkout["data"]["object"]["client_reference_id"] = "nobody"
    told = life.created("active")
    stripe.holds(life)
    for one in (checkout, told):
        await reading.deliver(one)
    await reading.work()
    assert await reading.plan("acme") == "starter"
    assert (await reading.event(checkout)).problem == "unknown_customer"
    assert (await reading.event(told)).state == "applied"
