"""Each change of a subscription is kept with what it comes to in a month; told twice, once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from api.catalog.subscription_changes import Line, mrr_minor
from api.domain.entitlements import SubscriptionStatus
from tests.support.billing import Desk
from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.reconciling import paired
from tests.support.stripe_events import Life

S = SubscriptionStatus


def line(cost: int | str | None, interval: str | None = "month", *, every: int = 1) -> Line:
    cost_minor = None if cost is None else Decimal(cost)
    return Line("p", "price_1", 1, cost_minor, "usd", interval, every)


@pytest.mark.parametrize(
    ("status", "lines", "comes_to"),
    [
        (S.ACTIVE, [line(4900)], 4900),
        (S.ACTIVE, [line(49_000, "year")], 4083),
        (S.ACTIVE, [line(6, "year")], 0),  # a half goes to the even cent
        (S.ACTIVE, [line(18, "year")], 2),
        (S.ACTIVE, [line(6, "year"), line(6, "year")], 1),  # the sum is rounded
        (S.ACTIVE, [line(9000, every=3)], 3000),
        (S.ACTIVE, [line(4900, "week")], 21_233),  # 52 weeks a year
        (S.ACTIVE, [line(4900, "week", every=2)], 10_617),
        (S.ACTIVE, [line(100, "day")], 3042),  # 365 days a year
        (S.ACTIVE, [line(100, "day", every=30)], 101),
        (S.ACTIVE, [line("0.5"), line("0.7")], 1),
        (S.ACTIVE, [line(4900), line(None)], None),  # unknown, never a part of it
        (S.ACTIVE, [line(4900, "fortnight")], None),
        (S.CANCELED, [line(None)], 0),
        (S.TRIALING, [line(4900), line(2700)], 7600),
        (S.PAST_DUE, [line(4900)], 4900),
        (S.ACTIVE, [line(4900, None)], 0),
        (S.UNPAID, [line(4900)], 0),
        (S.PAUSED, [line(4900)], 0),
        (S.CANCELED, [line(4900)], 0),
        (S.INCOMPLETE, [line(4900)], 0),
    ],
)
def test_a_month_of_it_comes_to(
    status: SubscriptionStatus, lines: list[Line], comes_to: int | None
) -> None:
    assert mrr_minor(status, lines) == comes_to


async def kept(desk: Desk) -> list[tuple[Any, ...]]:
    rows = await desk.core.database.fetch("select * from subscription_changes order by id")
    return [
        (r["kind"], r["plan_before"], r["plan_after"], r["mrr_minor_before"], r["mrr_minor_after"])
        for r in rows
    ]


async def test_a_life_is_kept_change_by_change(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await both.subscribe("acme")
        await both.hear()
        api = both.desk.door.api
        item = both.stripe.get(sub)["items"]["data"][0]["id"]
        clock.advance(minutes=1)
        more: Any = {"items": [{"price": both.prices["more_seats_monthly"], "quantity": 2}]}
        await api.ask(api.v1.subscriptions.update_async(sub, more))
        await both.hear()
        clock.advance(minutes=1)
        better: Any = {"items": [{"id": item, "price": both.prices["pro_monthly"]}]}
        await api.ask(api.v1.subscriptions.update_async(sub, better))
        await both.hear()
        clock.advance(minutes=1)
        await both.cancel(sub)
        both.stripe.webhooks.duplicate("*")
        await both.hear()
        await both.sync()
        await both.desk.work()
        assert await kept(both.desk) == [
            ("started", None, "starter", 0, 4900),
            ("items", "starter", "starter", 4900, 6700),
            ("plan", "starter", "pro", 6700, 11_700),
            ("ended", "pro", "pro", 11_700, 0),
        ]


async def test_what_is_told_again_or_changes_nothing_of_money_is_no_change(
    hearsay: Desk,
) -> None:
    life = Life("acme", hearsay.clock.now(), named=True)
    told = life.created("active")
    await hearsay.tell(told, told, life.later(days=1).ends_at_period_end(), told)
    assert [kind for kind, *_ in await kept(hearsay)] == ["started"]


async def test_history_is_shown_newest_first(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, reads=False) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life.later(days=2).became("past_due"))
        asked = """query { customer(key: "acme") { subscriptions { changes {
            edges { node { kind statusBefore statusAfter mrrMinorBefore mrrMinorAfter cause } }
        } } } }"""
        [held] = (await books.ask(asked))["customer"]["subscriptions"]
        nodes = [edge["node"] for edge in held["changes"]["edges"]]
        assert [(n["kind"], n["statusAfter"]) for n in nodes] == [
            ("status", "past_due"),
            ("started", "active"),
        ]
        assert nodes[0]["mrrMinorBefore"] == nodes[0]["mrrMinorAfter"] == 4900


async def test_where_the_provider_does_not_tell_the_tiers_the_month_is_unknown(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, reads=False) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 3})
        told = life.created("active")
        [item] = told["data"]["object"]["items"]["data"]
        item["price"] |= {"billing_scheme": "tiered", "tiers_mode": "volume"}
        item["price"] |= {"unit_amount": None, "unit_amount_decimal": None}
        await books.tell(told, life.later(days=2).became("canceled"))
        asked = """query { customer(key: "acme") { subscriptions { changes {
            edges { node { kind mrrMinorBefore mrrMinorAfter } }
        } } } }"""
        [held] = (await books.ask(asked))["customer"]["subscriptions"]
        nodes = [tuple(edge["node"].values()) for edge in held["changes"]["edges"]]
        assert nodes == [("ended", None, 0), ("started", 0, None)]
