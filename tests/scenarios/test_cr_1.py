"""CR-1: a pack is bought, and granted once, however often and in whatever order it is told."""

import asyncio
from pathlib import Path

import pytest

from api.catalog.customers import CustomerInput
from tests.support.clock import FakeClock
from tests.support.paying import Paying, paying
from tests.support.stripe_events import Buying
from tests.support.waiting import eventually

LEADS = (Path(__file__).parents[2] / "examples" / "leads.toml").read_text("utf-8")


async def left(opened: Paying) -> list[int]:
    """Return what is left of every grant."""
    rows = await opened.core.database.fetch("select available from credit_grants order by id")
    return [row["available"] for row in rows]


@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_a_pack_is_granted_once_however_often_and_in_whatever_order_it_is_told(
    database_url: str, redis_url: str, clock: FakeClock, *, reads: bool
) -> None:
    async with paying(database_url, redis_url, clock, catalog=LEADS, reads=reads) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        bought = Buying("one", clock.now(), pack="lead_50", quantity="2", customer="cus_acme")
        slow = bought.completed("unpaid")
        clock.advance(days=3)
        paid = bought.later(days=3).succeeded()
        again = bought.completed()
        leads.stripe.holds_payment(bought)
        async with leads.working():
            told = [paid, slow, again, paid, slow, paid]
            answers = await asyncio.gather(*(leads.deliver(event) for event in told))
            assert {answer.status_code for answer in answers} == {200}

            async def applied() -> bool:
                states = [(await leads.event(event))["state"] for event in (slow, paid, again)]
                return set(states) == {"APPLIED"}

            await eventually(applied, patience_seconds=10)
        assert await left(leads) == [100]
        source = await leads.core.database.fetchval("select source from credit_grants")
        assert source == f"pack:stripe:{bought.checkout}"


async def test_a_refund_and_a_dispute_take_back_what_is_left_and_no_more(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, catalog=LEADS) as leads:
        await leads.core.changes.upsert_customer(CustomerInput("acme"), clock.now(), "test")
        bought = Buying("one", clock.now(), pack="lead_50", amount=2500)
        completed = bought.completed()
        leads.stripe.holds_payment(bought)
        await leads.tell(completed)
        refunds = bought.refunded(500)
        leads.stripe.holds_payment(bought)
        await leads.tell(*refunds)
        assert await left(leads) == [40]
        disputed = bought.disputed()
        leads.stripe.holds_payment(bought)
        await leads.tell(disputed)
        assert await left(leads) == [0]
        won = bought.dispute_became("won")
        leads.stripe.holds_payment(bought)
        await leads.tell(won, *refunds, disputed, completed)
        assert await left(leads) == [40]
