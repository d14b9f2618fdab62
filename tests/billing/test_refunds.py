"""Refunds and disputes take back what is left, by what stands and not by what was told when."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.billing import payments
from api.billing.payments import Payment
from api.billing.worker import InboxWorker
from api.catalog.customers import CustomerInput
from api.domain.payments import Told
from api.infra.settings import Settings
from api.metering.partitions import Partitions
from api.worker.retention import Retention
from tests.support.billing import CATALOG, PACKS, Desk, desk
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Buying, Json
from tests.support.stripe_server import KEY, StripeServer
from tests.support.waiting import eventually

ORDERS = 200
_WAITING = (
    "select exists (select from pg_stat_activity where datname = current_database()"
    " and wait_event_type = 'Lock')"
)
SEED = 20261121


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


def _rows(forgotten: dict[str, int]) -> dict[str, int]:
    return {kind: rows for kind, rows in forgotten.items() if rows}


async def available(at_desk: Desk, bought: Buying) -> int:
    """Return what is left of this purchase."""
    source = f"pack:stripe:{bought.checkout}"
    (left,) = [g["available"] for g in await at_desk.grants() if g["source"] == source]
    return int(left)


async def test_a_refund_of_a_share_takes_the_share_rounded_down(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed(), *bought.later(days=1).refunded(339))
    assert await shop.balance() == 67
    assert await shop.ledger() == [("grant", 100), ("revoke", 33)]
    entry = await shop.core.database.fetchrow(
        "select * from credit_entries where kind = 'revoke' order by id"
    )
    assert entry is not None
    assert (entry["actor"], entry["reference"]) == ("provider:stripe", bought.payment)
    assert entry["operation_id"] == f"payment:stripe:{bought.payment}"
    assert (entry["reason"], bool(entry["correlation_id"])) == ("payment refunded", True)


async def test_a_refund_takes_at_most_what_is_left(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed())
    await shop.spend(80)
    await shop.tell(*bought.later(days=1).refunded(500))
    assert await shop.ledger() == [("grant", 100), ("spend", 80), ("revoke", 20)]


async def test_what_comes_back_to_a_refunded_pack_is_taken_then_and_no_more(shop: Desk) -> None:
    bought, at = buying(shop), shop.clock.now()
    await shop.tell(bought.completed())
    await shop.spend(80)
    await shop.tell(*bought.later(days=1).refunded(900))
    await payments.owed_turn(shop.core.database, at, 0)
    assert await shop.balance() == 0
    for came, kept in ((50, 0), (30, 10)):
        await shop.bring_back(came)
        await asyncio.gather(*(payments.owed_turn(shop.core.database, at, 0) for _ in range(2)))
        assert await shop.balance() == kept
    taken = [amount for kind, amount in await shop.ledger() if kind == "revoke"]
    assert taken == [20, 50, 20]


async def test_a_full_refund_takes_all_that_is_left(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed())
    await shop.spend(30)
    await shop.tell(*bought.later(days=1).refunded(400), *bought.later(days=1).refunded(600, "b"))
    assert await shop.ledger() == [("grant", 100), ("spend", 30), ("revoke", 40), ("revoke", 30)]


async def test_a_refund_of_another_purchase_takes_nothing_here(shop: Desk) -> None:
    first, second = buying(shop), buying(shop, "two")
    await shop.tell(first.completed(), second.completed(), *second.refunded(1000))
    assert (await available(shop, first), await available(shop, second)) == (100, 0)


async def test_a_refund_that_fails_gives_back_what_it_took(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(
        bought.completed(),
        *bought.later(days=1).refunded(500),
        bought.later(days=1).refund_failed(),
    )
    assert await shop.ledger() == [("grant", 100), ("revoke", 50), ("restore", 50)]


async def test_a_dispute_takes_all_that_is_left_and_a_won_one_gives_back_no_more(
    shop: Desk,
) -> None:
    bought = buying(shop)
    await shop.tell(bought.completed())
    await shop.spend(60)
    await shop.tell(
        bought.later(days=9).disputed(), bought.dispute_became("under_review", "updated")
    )
    assert await shop.balance() == 0
    await shop.tell(
        bought.later(days=9).dispute_became("won"),
        bought.dispute_became("won", "funds_reinstated"),
    )
    assert await shop.ledger() == [("grant", 100), ("spend", 60), ("revoke", 40), ("restore", 40)]


async def test_a_lost_dispute_keeps_what_it_took(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(
        bought.completed(), bought.disputed(), bought.later(days=60).dispute_became("lost")
    )
    assert await shop.balance() == 0


async def test_while_a_bank_only_inquires_nothing_is_taken(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(
        bought.completed(),
        bought.disputed("warning_needs_response"),
        bought.later(days=9).dispute_became("warning_closed"),
    )
    assert await shop.ledger() == [("grant", 100)]


async def test_a_dispute_in_words_nobody_knows_is_kept_with_what_to_do(shop: Desk) -> None:
    bought = buying(shop)
    told = bought.disputed("contemplated")
    await shop.tell(bought.completed(), told)
    assert (await shop.event(told)).problem == "unreadable"
    assert "'contemplated'" in ((await shop.event(told)).error or "")


async def test_a_won_dispute_leaves_what_a_refund_took(shop: Desk) -> None:
    bought = buying(shop)
    await shop.tell(
        bought.completed(),
        *bought.later(days=1).refunded(250),
        bought.later(days=1).disputed(),
        bought.later(days=1).dispute_became("won"),
    )
    assert await shop.ledger() == [("grant", 100), ("revoke", 25), ("revoke", 75), ("restore", 75)]


async def test_what_was_told_before_the_purchase_counts_for_it(shop: Desk) -> None:
    bought = buying(shop)
    completed = bought.completed()
    refunds = bought.later(days=1).refunded(200)
    await shop.tell(*refunds)
    assert await shop.states() == ["applied", "applied"]
    await shop.tell(completed)
    assert await shop.ledger() == [("grant", 100), ("revoke", 20)]


async def test_a_refund_heard_of_without_its_charge_is_a_share_of_the_price(shop: Desk) -> None:
    bought = buying(shop, amount=800)
    completed = bought.completed()
    refund, _charge = bought.refunded(200)
    await shop.tell(refund, completed)
    assert await shop.balance() == 75


async def test_refunds_of_what_is_no_pack_change_nothing(shop: Desk) -> None:
    other = buying(shop)
    told = other.refunded(500)
    loose = other.refunded(100, "b")
    for event in loose:
        event["data"]["object"]["payment_intent"] = None
    await shop.tell(*told, *loose)
    assert await shop.states() == ["applied", "applied", "ignored", "ignored"]
    assert await shop.grants() == []


async def test_what_was_said_of_other_payments_is_forgotten_in_time(
    shop: Desk, clock: FakeClock
) -> None:
    other, bought = buying(shop, "other"), buying(shop)
    await shop.tell(*other.refunded(500), bought.completed(), *bought.refunded(300))
    database = shop.core.database
    retention = Retention(database, Partitions(database), Settings())
    clock.advance(days=89)
    assert "payments for no pack" not in _rows(await retention.forget(clock.now()))
    clock.advance(days=2)
    assert _rows(await retention.forget(clock.now()))["payments for no pack"] == 1
    kept = await database.fetch("select distinct payment_id from provider_payment_facts")
    assert [row["payment_id"] for row in kept] == [bought.payment]
    await shop.tell(bought.refund_failed())
    assert await shop.balance() == 100


async def test_replaying_and_telling_again_change_nothing(shop: Desk) -> None:
    bought = buying(shop)
    events = [
        bought.completed(),
        *bought.later(days=1).refunded(300),
        bought.later(days=1).disputed(),
        bought.later(days=1).dispute_became("won"),
    ]
    await shop.tell(*events)
    before = await shop.ledger()
    at = shop.clock.now()
    names = [event["id"] for event in reversed(events)]
    await shop.inbox.replay(names, actor="test", reason="once more", at=at)
    await shop.work()
    assert await shop.states() == ["applied"] * 5
    assert await shop.ledger() == before


def life_of(bought: Buying) -> list[Json]:
    """Return all that is told of a payment of which half is refunded in the end."""
    return [
        bought.completed("unpaid"),
        bought.later(hours=3).succeeded(),
        *bought.later(days=1).refunded(300),
        bought.later(days=1).refund_failed(),
        bought.later(days=1).disputed(),
        bought.later(days=1).dispute_became("under_review", "funds_withdrawn"),
        bought.later(days=1).dispute_became("won"),
        *bought.later(days=1).refunded(500, "b"),
    ]


async def test_every_order_of_a_short_life_ends_alike(shop: Desk) -> None:
    orders = list(itertools.permutations(range(5)))
    lives = [buying(shop, f"short{n}") for n in range(len(orders))]
    for order, bought in zip(orders, lives, strict=True):
        events = [
            bought.completed(),
            *bought.later(days=1).refunded(300),
            bought.later(days=1).disputed(),
            bought.later(days=1).dispute_became("won"),
        ]
        for i in order:
            await shop.deliver(events[i])
            await shop.worker.run_once(shop.clock.now())
    assert {await available(shop, bought) for bought in lives} == {70}
    assert await shop.core.database.fetchval("select count(*) from credit_grants") == 120


async def test_two_hundred_orders_with_repetitions_through_the_route_end_alike(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - seeded orders, not secrets
    async with paying(
        database_url, redis_url, clock, catalog=CATALOG + PACKS, reads=False
    ) as opened:
        await opened.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        queues: list[list[Json]] = []
        for n in range(ORDERS):
            events = life_of(Buying(f"life{n}", clock.now()))
            mixed = events + chance.choices(events, k=chance.randint(0, 3))
            chance.shuffle(mixed)
            queues.append(mixed)
        while any(queues):
            arriving = [opened.deliver(left.pop(0)) for left in queues if left]
            answers = await asyncio.gather(*arriving)
            assert {answer.status_code for answer in answers} == {200}
            await opened.work()
        database = opened.core.database
        states = await database.fetch("select distinct state from webhook_events")
        assert [row["state"] for row in states] == ["applied"]
        left = await database.fetch("select available from credit_grants")
        assert [row["available"] for row in left] == [50] * ORDERS


async def test_a_purchase_and_its_refund_at_the_same_moment_do_not_overlook_each_other(
    shop: Desk,
) -> None:
    lives = [buying(shop, f"both{n}") for n in range(8)]
    told = [event for one in lives for event in (one.completed(), *one.refunded(1000))]
    await asyncio.gather(*(shop.deliver(event) for event in told))
    core, at = shop.core, shop.clock.now()
    workers = [
        InboxWorker(core.database, shop.door, core.changes, core.revisions) for _ in range(4)
    ]
    await asyncio.gather(*(worker.run_once(at) for worker in workers))
    await shop.work()
    assert await shop.states() == ["applied"] * 24
    assert await shop.balance() == 0


async def test_a_purchase_waits_for_whoever_writes_of_its_payment(shop: Desk) -> None:
    bought = buying(shop)
    completed, part, rest = bought.completed(), bought.refunded(100), bought.refunded(900, "b")
    await shop.tell(*part)
    await shop.deliver(completed)
    at, payment = shop.clock.now(), Payment("stripe", bought.payment)
    fact = shop.door.hint("refund.created", rest[0]).fact
    assert fact is not None
    async with shop.core.database.transaction() as writing:
        await payments.hold(writing, payment, at)
        working = asyncio.create_task(shop.worker.run_once(at))
        await eventually(lambda: shop.core.database.fetchval(_WAITING))
        await payments.note(writing, payment, [Told(fact, at, "evt_rest")], whole=False)
    await working
    assert await shop.balance() == 0


async def test_with_a_key_the_payment_decides_and_not_the_events(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader)
    events = life_of(bought)
    stripe.holds_payment(bought)
    await reader.tell(events[5], events[2], events[0])
    # Disputed, refunded and failed, but all that stands now is half of it given back.
    assert await reader.ledger() == [("grant", 100), ("revoke", 50)]
    payment = await reader.core.database.fetchrow("select * from provider_payments")
    assert payment is not None
    assert (payment["amount_minor"], payment["refunded_minor"], payment["disputed"]) == (
        1000,
        500,
        False,
    )


async def test_with_a_key_every_refund_of_a_long_list_counts(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader, amount=12_000)
    completed = bought.completed()
    events = [bought.refunded(50, f"part{n:03}") for n in range(120)]
    stripe.holds_payment(bought)
    await reader.tell(completed, *events[-1])
    assert await reader.balance() == 50


async def test_with_a_key_events_in_other_words_are_read_again(
    reader: Desk, stripe: StripeServer
) -> None:
    bought = buying(reader)
    completed = bought.completed()
    refund, charge = bought.refunded(100)
    dispute = bought.disputed()
    bought.dispute_became("won")
    stripe.holds_payment(bought)
    await reader.tell(completed)
    for event in (refund, charge, dispute):
        told = event | {"api_version": "2031-01-01"}
        told["data"] = {"object": {"id": event["data"]["object"]["id"], "payment_intent": {}}}
        await reader.tell(told)
        assert (await reader.event(told)).object_id == bought.payment
    assert await reader.states() == ["applied"] * 4
    assert await reader.ledger() == [("grant", 100), ("revoke", 10)]
