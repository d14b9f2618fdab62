"""What the catalog sells and somebody changes at Stripe; customers whom somebody deletes there."""

from __future__ import annotations

from typing import Any

import pytest

from api.billing.pushing import Pusher
from api.billing.shelf_events import PUSHING
from api.billing.stripe_door import StripeDoor
from api.billing.stripe_shelf import StripeShelf
from api.domain.catalog import Catalog
from tests.stripe_sim import simulated_stripe
from tests.support.billing import desk
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired


def catalog(pair: Pair) -> Catalog:
    return pair.desk.core.revisions.newest.catalog


async def pushed(pair: Pair) -> None:
    """Let Stripe sell what the catalog has, and go on when that is over."""
    core = pair.desk.core
    await Pusher(core.database, StripeShelf(pair.desk.door.api)).push(
        catalog(pair), retire=False, actor="local:ann", reason="a test", at=pair.desk.clock.now()
    )
    await pair.hear()
    pair.desk.clock.advance(minutes=10)
    await pair.desk.work()


async def change(pair: Pair, kind: str, name: str, **said: Any) -> None:
    api = pair.desk.door.api
    services: Any = {"price": api.v1.prices, "product": api.v1.products}
    await api.ask(services[kind].update_async(name, said))
    await pair.hear()


async def shelf_alerts(pair: Pair) -> list[tuple[str, str]]:
    rows = await pair.desk.core.database.fetch("select * from alerts order by id")
    return [(r["subject"], r["message"]) for r in rows if r["kind"] == "shelf_changed"]


async def test_a_push_raises_no_alert_and_its_events_are_applied(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pushed(pair)
        assert await pair.alerts() == []
        assert set(await pair.desk.states()) <= {"applied", "ignored"}
        assert "applied" in await pair.desk.states()


@pytest.mark.parametrize(
    ("said", "does"),
    [({"active": False}, "revive price"), ({"lookup_key": ""}, "make price")],
    ids=["deactivated", "key taken away"],
)
async def test_a_price_that_is_sold_and_changed_outside_says_what_to_do(
    database_url: str, redis_url: str, clock: FakeClock, said: dict[str, Any], does: str
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pushed(pair)
        await change(pair, "price", pair.prices["starter_monthly"], **said)
        [(subject, message)] = await shelf_alerts(pair)
        assert subject == "plan:starter starter_monthly"
        assert does in message
        assert "headroom catalog push" in message


async def test_a_product_that_is_sold_and_deactivated_outside_raises_an_alert(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pushed(pair)
        product = pair.stripe.get(pair.prices["pro_monthly"])["product"]
        await change(pair, "product", product, active=False)
        assert [subject for subject, _ in await shelf_alerts(pair)] == ["plan:pro"]


@pytest.mark.parametrize(
    ("more", "state"), [({}, "ignored"), ({"lookup_key": "elsewhere"}, "applied")]
)
async def test_a_price_that_is_not_ours_has_nothing_read(
    database_url: str, redis_url: str, clock: FakeClock, more: dict[str, Any], state: str
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pushed(pair)
        api = pair.desk.door.api
        product = await api.ask(api.v1.products.create_async({"name": "elsewhere"}))
        terms: Any = {"product": product.id, "currency": "usd", "unit_amount": 100, **more}
        price = await api.ask(api.v1.prices.create_async(terms))
        asked = pair.stripe.faults.asked("/v1/prices", "GET")
        await change(pair, "price", price.id, active=False)
        assert pair.stripe.faults.asked("/v1/prices", "GET") == asked
        assert await shelf_alerts(pair) == []
        assert (await pair.desk.states())[-1] == state


async def test_while_a_push_is_at_work_nothing_is_judged_and_afterwards_it_is(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        core = pair.desk.core
        await Pusher(core.database, StripeShelf(pair.desk.door.api)).push(
            catalog(pair), retire=False, actor="local:ann", reason="a test", at=clock.now()
        )
        await change(pair, "price", pair.prices["starter_monthly"], active=False)
        assert await shelf_alerts(pair) == []
        assert "failed" in await pair.desk.states()
        clock.advance(seconds=PUSHING.total_seconds() + 60)
        await pair.desk.work()
        assert len(await shelf_alerts(pair)) == 1
        assert "failed" not in await pair.desk.states()


async def test_without_a_key_the_events_own_words_are_judged(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with (
        simulated_stripe(clock) as stripe,
        StripeDoor(secrets=(), api_key=stripe.key, api_base=stripe.address) as outside,
        desk(database_url, redis_url, clock, secrets=(stripe.webhooks.secret,)) as ours,
    ):
        v1, ask = outside.api.v1, outside.api.ask

        async def take(body: bytes, header: str) -> int:
            await ours.inbox.accept(body, header, "192.0.2.7", "Stripe/1.0", clock.now())
            return 200

        async def alerts() -> list[str]:
            await stripe.webhooks.deliver_to(take)
            await ours.work()
            rows = await ours.core.database.fetch("select subject from alerts order by id")
            return [row["subject"] for row in rows]

        product = await ask(v1.products.create_async({"name": "Starter"}))
        terms: Any = {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 4900,
            "recurring": {"interval": "month"},
            "lookup_key": "starter_monthly",
        }
        price = await ask(v1.prices.create_async(terms))
        assert await alerts() == []
        await ask(v1.prices.update_async(price.id, {"active": False}))
        assert await alerts() == ["plan:starter starter_monthly"]
        assert set(await ours.states()) <= {"applied", "ignored"}


async def test_a_deleted_customer_loses_its_plan_by_a_look_and_a_person_is_told(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pair.subscribe("acme")
        await pair.hear()
        assert await pair.desk.plan("acme") == "starter"
        pair.stripe.delete_customer(pair.customers["acme"])
        pair.stripe.webhooks.drop("customer.subscription.*")
        await pair.hear()
        assert await pair.desk.plan("acme") == "free"
        assert await pair.alerts() == [("customer_deleted", "warning")]


async def test_a_deleted_customer_who_is_nobody_here_raises_nothing(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.delete_customer(pair.stripe.customer())
        await pair.hear()
        assert await pair.alerts() == []
        assert (await pair.desk.states())[-1] == "applied"


async def test_prices_made_by_hand_that_were_never_pushed_are_as_good(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pair.hear()
        product = pair.stripe.get(pair.prices["pro_monthly"])["product"]
        v1, ask = pair.desk.door.api.v1, pair.desk.door.api.ask
        await ask(v1.products.update_async(product, {"active": False}))
        await ask(v1.products.update_async(product, {"active": True}))
        await pair.hear()
        assert await pair.alerts() == []
        await change(pair, "product", product, active=False)
        assert [subject for subject, _ in await shelf_alerts(pair)] == ["plan:pro"]
