"""Invoices are mirrored as they are at the provider, or as the newest event tells."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from api.billing.payers import Payers
from api.billing.provider import Hint
from tests.support.billing import Desk
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.reconciling import paired
from tests.support.stripe_events import Json, Life
from tests.support.waiting import eventually

SHOWN = """
query { customer(key: "acme") { invoices(first: 1) {
  edges { node { providerId status totalMinor paidMinor remainingMinor currency reason periodEnd } }
  pageInfo { hasNextPage }
} } }
"""


async def kept(desk: Desk) -> list[Any]:
    return await desk.core.database.fetch("select * from invoices order by id")


def course(life: Life) -> list[Json]:
    """Return a draft, its finalisation and its payment, all of one second."""
    told = [life.invoiced(paid=status == "paid") for status in ("draft", "open", "paid")]
    for event, (kind, status) in zip(
        told, (("created", "draft"), ("finalized", "open"), ("paid", "paid")), strict=True
    ):
        event["type"] = f"invoice.{kind}"
        event["data"]["object"] |= {"id": "in_1", "status": status}
    return told


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_without_a_key_the_state_furthest_on_stands_in_any_order_of_one_second(
    hearsay: Desk, order: tuple[int, ...]
) -> None:
    life = Life("acme", hearsay.clock.now(), named=True)
    await hearsay.tell(life.created("active"))
    told = course(life)
    await hearsay.tell(*(told[i] for i in order), told[0])
    [row] = await kept(hearsay)
    assert (row["status"], row["paid_minor"], row["customer_id"]) == ("paid", 4900, 1)


async def test_an_invoice_that_comes_before_its_customer_is_known_is_given_to_it(
    hearsay: Desk,
) -> None:
    life = Life("acme", hearsay.clock.now(), named=True)
    await hearsay.tell(course(life)[1])
    assert [row["customer_id"] for row in await kept(hearsay)] == [None]
    await hearsay.tell(life.created("active"))
    assert [row["customer_id"] for row in await kept(hearsay)] == [1]


async def test_an_invoice_that_is_written_while_its_customer_is_linked_is_given_to_it(
    hearsay: Desk,
) -> None:
    life = Life("acme", hearsay.clock.now())
    at, database = hearsay.clock.now(), hearsay.core.database
    async with database.transaction() as linking:
        await Payers("stripe").introduce(linking, Hint(None, life.customer, "acme"), at)
        telling = asyncio.create_task(hearsay.tell(course(life)[1]))

        async def over_or_waiting() -> bool:
            waits = await database.fetchval(
                "select exists (select from pg_locks where locktype = 'advisory' and not granted"
                " and database = (select oid from pg_database where datname = current_database()))"
            )
            return waits or telling.done()

        await eventually(over_or_waiting)
    await telling
    assert [row["customer_id"] for row in await kept(hearsay)] == [1]


async def test_with_a_key_they_are_as_stripe_has_them(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        both.stripe.advance(days=32)
        both.stripe.webhooks.reverse()
        await both.hear()
        at_stripe = {
            (one["id"], one["status"], one["total"], one["amount_remaining"])
            for one in both.stripe.all("invoice")
        }
        rows = await kept(both.desk)
        ours = {
            (r["provider_id"], r["status"], r["total_minor"], r["remaining_minor"]) for r in rows
        }
        assert ours == at_stripe
        assert len(ours) == 2
        assert len({row["period_start"] for row in rows}) == 2


async def test_a_customer_sees_its_own_page_of_them(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, reads=False) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life.invoiced(paid=True))
        await books.tell(life.later(days=31).invoiced(paid=False))
        found = (await books.ask(SHOWN))["customer"]["invoices"]
        [edge] = found["edges"]
        assert found["pageInfo"]["hasNextPage"] is True
        assert edge["node"]["status"] == "open"
        assert edge["node"]["remainingMinor"] == 4900
        assert edge["node"]["reason"] == "subscription_cycle"
