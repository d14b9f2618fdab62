"""Packs are granted once, when the money is sure, whatever tells of them and in which order."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api.billing.claims import HELD_FOR
from api.billing.worker import InboxWorker
from api.catalog.file import parse
from tests.support.billing import CATALOG, PACKS, Desk, desk
from tests.support.clock import FakeClock
from tests.support.stripe_events import Buying, Json, Life, customer
from tests.support.stripe_server import KEY, StripeServer


@pytest.fixture
async def shop(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Desk]:
    """Return a desk that sells packs, and has only events to go by."""
    async with desk(database_url, redis_url, clock, catalog=CATALOG + PACKS) as opened:
        yield opened


@pytest.fixture
async def reader(
    database_url: str, redis_url: str, clock: FakeClock, stripe: StripeServer
) -> AsyncIterator[Desk]:
    """Return a desk that sells packs, and reads every object again."""
    async with desk(
        database_url,
        redis_url,
        clock,
        catalog=CATALOG + PACKS,
        api_key=KEY,
        api_base=stripe.address,
    ) as opened:
        yield opened


def buying(at_desk: Desk, tag: str = "one", **said: Any) -> Buying:
    return Buying(tag, at_desk.clock.now(), **said)


async def test_a_paid_pack_is_granted_as_the_catalog_says(shop: Desk) -> None:
    bought = buying(shop, pack="gift", quantity="3")
    shop.clock.advance(minutes=5)
    await shop.tell(bought.completed())
    (grant,) = await shop.grants()
    feature_ids = shop.core.revisions.newest.feature_ids
    assert (grant["units"], grant["available"], grant["bucket"]) == (21, 21, "promotional")
    assert grant["priority"] == 5
    assert grant["source"] == f"pack:stripe:{bought.checkout}"
    assert grant["effective_at"] == bought.at
    assert grant["expires_at"] == bought.at + timedelta(days=30)
    assert grant["features"] == [feature_ids["chat"]]
    assert (grant["actor"], grant["reference"]) == ("provider:stripe", bought.payment)
    assert grant["correlation_id"]
    purchase = await shop.core.database.fetchrow("select * from pack_purchases")
    assert purchase is not None
    assert (purchase["pack"], purchase["quantity"]) == ("gift", 3)
    assert (purchase["grant_id"], purchase["payment_id"]) == (grant["id"], bought.payment)


async def test_one_pack_is_meant_where_no_quantity_is_named_and_it_may_last_for_ever(
    shop: Desk,
) -> None:
    await shop.tell(buying(shop).completed())
    (grant,) = await shop.grants()
    assert (grant["units"], grant["expires_at"], grant["features"]) == (100, None, None)


async def test_what_costs_nothing_is_granted_too(shop: Desk) -> None:
    await shop.tell(buying(shop).completed("no_payment_required"))
    assert await shop.balance() == 100


async def test_a_session_without_a_pack_grants_nothing(shop: Desk) -> None:
    bought = buying(shop)
    del bought.state["metadata"]["headroom_pack"]
    told = bought.completed()
    await shop.tell(told)
    assert (await shop.event(told)).state == "ignored"
    assert await shop.grants() == []


async def test_a_session_for_a_subscription_is_no_purchase_whatever_it_names(shop: Desk) -> None:
    life = Life("acme", shop.clock.now())
    told = life.checked_out()
    told["data"]["object"]["metadata"] = {"headroom_pack": "boost"}
    await shop.tell(told, life.created("active"))
    assert await shop.plan("acme") == "starter"
    assert await shop.grants() == []


async def test_until_the_money_is_sure_nothing_is_granted(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed("unpaid"))
    assert await shop.balance() == 0
    await shop.tell(bought.later(days=2).succeeded())
    (grant,) = await shop.grants()
    assert grant["available"] == 100


async def test_a_payment_that_fails_later_grants_nothing(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed("unpaid"), bought.later(days=2).failed())
    assert await shop.grants() == []
    assert await shop.states() == ["applied", "applied"]


async def test_an_event_of_a_failure_grants_nothing_whatever_its_checkout_says(shop: Desk) -> None:
    bought = buying(shop)
    bought.completed()
    await shop.tell(bought.failed())
    assert await shop.grants() == []


def asynchronous(at_desk: Desk, tag: str) -> list[Json]:
    bought = buying(at_desk, tag)
    return [bought.completed("unpaid"), bought.later(minutes=9).succeeded(), bought.completed()]


async def test_in_every_order_it_is_granted_once(shop: Desk) -> None:
    for number, order in enumerate(itertools.permutations(range(3))):
        events = asynchronous(shop, f"order{number}")
        await shop.tell(*(events[i] for i in order), events[order[0]])
    grants = await shop.grants()
    assert [grant["units"] for grant in grants] == [100] * 6
    assert await shop.ledger() == [("grant", 100)] * 6


async def test_told_by_many_events_to_many_workers_at_once_it_is_granted_once(
    shop: Desk,
) -> None:
    bought = buying(shop)
    told = [bought.completed(), bought.succeeded(), bought.completed(), bought.completed()]
    await asyncio.gather(*(shop.deliver(one) for one in told for _ in range(3)))
    core, at = shop.core, shop.clock.now()
    workers = [
        InboxWorker(core.database, shop.door, core.changes, core.revisions) for _ in range(6)
    ]
    await asyncio.gather(*(worker.run_once(at) for worker in workers))
    await shop.work()
    assert await shop.states() == ["applied"] * 4
    assert await shop.ledger() == [("grant", 100)]


async def test_replaying_grants_nothing_again_also_when_the_pack_is_sold_no_more(
    shop: Desk,
) -> None:
    told = buying(shop).completed()
    await shop.tell(told)
    at = shop.clock.now()
    await shop.core.revisions.apply(parse(CATALOG, "other.toml"), "test", "test", at)
    await shop.inbox.replay([told["id"]], actor="test", reason="once more", at=at)
    await shop.work()
    assert (await shop.event(told)).state == "applied"
    assert await shop.ledger() == [("grant", 100)]


@pytest.mark.parametrize("said", ["0", "1001", "-1", "1.5", "", "ten", "٣", "1e3", "99999999999"])
async def test_a_quantity_that_is_none_parks_the_event_with_what_to_do(
    shop: Desk, said: str
) -> None:
    told = buying(shop, quantity=said).completed()
    await shop.tell(told)
    seen = await shop.event(told)
    assert (seen.state, seen.problem, seen.attempts) == ("parked", "bad_quantity", 1)
    assert "1 to 1000" in (seen.error or "")
    assert await shop.grants() == []


async def test_a_thousand_packs_are_a_quantity(shop: Desk) -> None:
    await shop.tell(buying(shop, quantity="1000").completed())
    assert await shop.balance() == 100_000


async def test_a_pack_nobody_sells_parks_the_event_until_it_is_replayed(shop: Desk) -> None:
    told = buying(shop, pack="rocket").completed()
    await shop.tell(told)
    seen = await shop.event(told)
    assert (seen.state, seen.problem) == ("parked", "unknown_pack")
    assert "'rocket'" in (seen.error or "")
    at = shop.clock.now()
    wider = CATALOG + PACKS.replace("packs.boost", "packs.rocket")
    await shop.core.revisions.apply(parse(wider, "wider.toml"), "test", "test", at)
    await shop.inbox.replay(None, actor="test", reason="sold now", at=at)
    await shop.work()
    assert await shop.balance() == 100


async def test_a_guest_is_known_by_the_reference_or_the_metadata(shop: Desk) -> None:
    by_metadata = buying(shop, "two", reference=None)
    by_metadata.state["metadata"]["headroom_customer"] = "acme"
    await shop.tell(buying(shop).completed(), by_metadata.completed())
    assert await shop.balance() == 200
    assert await shop.count("customer_links") == 0


async def test_a_buyer_is_known_by_its_name_at_the_provider(shop: Desk) -> None:
    life = Life("acme", shop.clock.now())
    told = buying(shop, reference=None, customer=life.customer).completed()
    await shop.tell(told)
    assert (await shop.event(told)).problem == "unknown_customer"
    await shop.tell(life.checked_out())
    assert (await shop.event(told)).state == "applied"
    assert await shop.balance() == 100


async def test_a_checkout_of_a_pack_introduces_its_customer(shop: Desk) -> None:
    life = Life("acme", shop.clock.now())
    early = life.created("active")
    await shop.tell(early)
    assert (await shop.event(early)).problem == "unknown_customer"
    await shop.tell(buying(shop, customer=life.customer).completed())
    assert await shop.plan("acme") == "starter"


async def test_nobody_named_waits_and_says_what_to_do(shop: Desk) -> None:
    told = buying(shop, reference=None).completed()
    stranger = buying(shop, "two", reference="nobody").completed()
    await shop.tell(told, stranger)
    for one, word in ((told, "client reference"), (stranger, "'nobody'")):
        seen = await shop.event(one)
        assert (seen.state, seen.problem) == ("failed", "unknown_customer")
        assert word in (seen.error or "")


async def test_the_checkout_decides_and_not_the_event(reader: Desk, stripe: StripeServer) -> None:
    bought = buying(reader)
    early = bought.completed("unpaid")
    bought.later(days=1).succeeded()
    stripe.holds_payment(bought)
    reader.clock.advance(days=2)
    await reader.tell(early)
    (grant,) = await reader.grants()
    # Since when the money is sure is what the charge says, not which event came first.
    assert (grant["units"], grant["effective_at"]) == (100, bought.paid_at)


async def test_an_event_that_says_more_than_its_checkout_grants_nothing(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader)
    told = bought.completed()
    bought.state["payment_status"] = "unpaid"
    stripe.holds_payment(bought)
    await reader.tell(told)
    assert (await reader.event(told)).state == "applied"
    assert await reader.grants() == []


async def test_with_a_key_the_provider_s_customer_may_say_who_bought(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader, reference=None, customer="cus_77")
    told = bought.completed()
    stripe.holds_payment(bought).put(customer("cus_77", metadata={"headroom_customer": "acme"}))
    await reader.tell(told)
    assert await reader.balance() == 100


async def test_a_checkout_in_other_words_is_read_again(reader: Desk, stripe: StripeServer) -> None:
    bought = buying(reader)
    told = bought.completed() | {"api_version": "2031-01-01"}
    told["data"] = {"object": {"id": bought.checkout, "mode": {}}}
    stripe.holds_payment(bought)
    await reader.tell(told)
    assert (await reader.event(told)).state == "applied"
    assert await reader.balance() == 100


async def test_what_a_worker_held_that_died_is_granted_once_by_another(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader)
    await reader.deliver(bought.completed())
    stripe.holds_payment(bought)
    gate = stripe.gate = asyncio.Event()
    dying = asyncio.create_task(reader.worker.run_once(reader.clock.now()))
    await stripe.arrived.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    gate.set()
    stripe.gate = None
    reader.clock.advance(seconds=HELD_FOR.total_seconds())
    assert await reader.work() == 1
    assert await reader.ledger() == [("grant", 100)]
