"""What subscriptions are paid for is compared line by line, and counts as what Stripe charges."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired

TIERS = [
    {"up_to": 5, "unit_amount": 700, "flat_amount": 1000},
    {"up_to": 10, "unit_amount_decimal": "649.5"},
    {"up_to": "inf", "unit_amount": 600, "flat_amount": 250},
]
TIERED: dict[str, Any] = {"billing_scheme": "tiered", "tiers": TIERS, "unit_amount": None}
IN_YEN = {"jpy": {"unit_amount": 700}}
IN_DINARS = {"kwd": {"tiers": [{"up_to": "inf", "unit_amount": 1520}]}}


async def sells(both: Pair, **said: Any) -> None:
    """Let ``starter_monthly`` be another price, made by hand at the provider."""
    api = both.desk.door.api
    made = {
        "product": both.stripe.get(both.prices["starter_monthly"])["product"],
        "currency": "usd",
        "unit_amount": 4900,
        "recurring": {"interval": "month"},
        "lookup_key": "starter_monthly",
        "transfer_lookup_key": True,
    } | said
    made = {name: value for name, value in made.items() if value is not None}
    name: Any = {"metadata": {"headroom_price": "starter_monthly"}}
    await api.ask(api.v1.prices.update_async(both.prices["starter_monthly"], name))
    params: Any = made
    both.prices["starter_monthly"] = (await api.ask(api.v1.prices.create_async(params))).id


async def change(both: Pair, subscription: str, **said: Any) -> None:
    """Change the only item of a subscription, and lose all that is told of it."""
    api = both.desk.door.api
    item = both.stripe.get(subscription)["items"]["data"][0]["id"]
    params: Any = {"items": [{"id": item, **said}], "proration_behavior": "none"}
    await api.ask(api.v1.subscriptions.update_async(subscription, params))
    both.stripe.webhooks.drop("*")
    both.desk.clock.advance(days=1)


async def months(both: Pair) -> list[tuple[str, int | None]]:
    rows = await both.desk.core.database.fetch("select * from subscription_changes order by id")
    return [(row["kind"], row["mrr_minor_after"]) for row in rows]


def sums(counts: Counter[str]) -> tuple[int, int]:
    return counts["here:mrr:usd"], counts["provider:mrr:usd"]


async def test_a_lost_quantity_and_a_lost_price_of_the_same_name_are_found_and_healed(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await both.subscribe("acme")
        await both.hear()
        await change(both, sub, quantity=7)
        report = await both.sync()
        assert report.counts["changed"] == 1
        [found] = report.differences
        [(name, here, there)] = found.fields
        assert name == "items"
        assert "x 1: 4900 usd every 1 month" in here
        assert "x 7: 34300 usd every 1 month" in there
        assert sums(report.counts) == (4_900, 34_300)
        await both.desk.work()
        assert await months(both) == [("started", 4_900), ("items", 34_300)]

        await sells(both, unit_amount=9_999)
        await change(both, sub, price=both.prices["starter_monthly"], quantity=7)
        report = await both.sync()
        assert report.counts["changed"] == 1
        assert sums(report.counts) == (34_300, 69_993)
        await both.desk.work()
        assert (await months(both))[2:] == [("items", 69_993)]

        both.desk.clock.advance(days=1)
        report = await both.sync()
        assert report.differing == 0
        assert sums(report.counts) == (69_993, 69_993)


async def test_a_price_of_the_same_amount_is_another_price(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await both.subscribe("acme")
        await both.hear()
        await sells(both)
        await change(both, sub, price=both.prices["starter_monthly"])
        assert (await both.sync()).counts["changed"] == 1
        await both.desk.work()
        assert (await both.sync()).differing == 0


@pytest.mark.parametrize(
    ("price", "bought", "comes_to"),
    [
        ({"transform_quantity": {"divide_by": 10, "round": "up"}}, {"quantity": 31}, 19_600),
        ({"transform_quantity": {"divide_by": 10, "round": "down"}}, {"quantity": 39}, 14_700),
        (TIERED | {"tiers_mode": "graduated"}, {"quantity": 12}, 9_198),  # half to the even cent
        (TIERED | {"tiers_mode": "volume"}, {"quantity": 12}, 7_450),
        (TIERED | {"tiers_mode": "volume"}, {"quantity": 3}, 3_100),
        ({"unit_amount": None, "unit_amount_decimal": "0.25"}, {"quantity": 1000}, 250),
        ({"recurring": {"interval": "month", "usage_type": "metered"}}, {}, 0),
    ],
    ids=[
        "packs up",
        "packs down",
        "graduated",
        "volume",
        "low volume",
        "part cents",
        "metered",
    ],
)
async def test_a_month_is_what_stripe_charges_for_it(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    price: dict[str, Any],
    bought: dict[str, Any],
    comes_to: int,
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await sells(both, **price)
        items = [{"price": both.prices["starter_monthly"], **bought}]
        await both.subscribe("acme", items=items)
        await both.hear()
        assert await months(both) == [("started", comes_to)]
        [invoice] = both.stripe.all("invoice")
        assert abs(invoice["total"] - comes_to) <= 1  # Stripe rounds halves up
        both.desk.clock.advance(days=1)
        report = await both.sync()
        assert report.differing == 0
        assert sums(report.counts) == (comes_to, comes_to)


@pytest.mark.parametrize(
    ("every", "comes_to"),
    [
        ({"interval": "week"}, 21_233),
        ({"interval": "day", "interval_count": 10}, 14_904),
        ({"interval": "month", "interval_count": 6}, 817),
        ({"interval": "year"}, 408),
    ],
    ids=["week", "ten days", "half a year", "year"],
)
async def test_other_intervals_come_to_a_month(
    database_url: str, redis_url: str, clock: FakeClock, every: dict[str, Any], comes_to: int
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await sells(both, recurring=every)
        await both.subscribe("acme")
        await both.hear()
        assert await months(both) == [("started", comes_to)]
        assert sums((await both.sync()).counts) == (comes_to, comes_to)


@pytest.mark.parametrize(
    ("price", "currency", "comes_to"),
    [
        ({"currency_options": IN_YEN}, "jpy", 2_100),
        (TIERED | {"tiers_mode": "volume", "currency_options": IN_DINARS}, "kwd", 4_560),
    ],
    ids=["no decimals", "three decimals"],
)
async def test_a_price_counts_in_the_subscriptions_own_currency_as_stripe_counts_it(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    price: dict[str, Any],
    currency: str,
    comes_to: int,
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await sells(both, **price)
        items = [{"price": both.prices["starter_monthly"], "quantity": 3}]
        sub = await both.subscribe("acme", items=items, currency=currency)
        await both.hear()
        assert await months(both) == [("started", comes_to)]
        assert [(i["currency"], i["total"]) for i in both.stripe.all("invoice")] == [
            (currency, comes_to)
        ]
        report = await both.sync()
        assert report.differing == 0
        assert report.counts[f"here:mrr:{currency}"] == comes_to
        assert report.counts[f"provider:mrr:{currency}"] == comes_to

        # Lists show no amounts in other currencies: another quantity is seen all the same.
        await change(both, sub, quantity=4)
        report = await both.sync()
        assert (report.counts["changed"], report.counts["provider:mrr_unknown"]) == (1, 1)
        await both.desk.work()
        report = await both.sync()
        assert report.differing == 0
        assert report.counts[f"here:mrr:{currency}"] == comes_to // 3 * 4
