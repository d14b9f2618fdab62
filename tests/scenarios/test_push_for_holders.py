"""Customers who hold a price that a push replaced: they keep it, and it stays their plan."""

from api.billing.pushing import Pusher
from api.billing.stripe_shelf import StripeShelf
from api.catalog.file import parse
from tests.support.billing import CATALOG
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired

DEARER = CATALOG.replace("amount_minor = 4900,", "amount_minor = 5900,")


async def push(both: Pair, text: str) -> None:
    await Pusher(both.desk.core.database, StripeShelf(both.desk.door.api)).push(
        parse(text, "desk.toml"),
        retire=False,
        actor="local:op",
        reason="spring prices",
        at=both.desk.clock.now(),
    )


def priced(both: Pair, key: str) -> str:
    (found,) = [one["id"] for one in both.stripe.all("price") if one["lookup_key"] == key]
    return str(found)


async def test_who_holds_a_replaced_price_keeps_the_plan_through_events_renewals_and_comparisons(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, customers=("acme", "globex")) as both:
        await push(both, CATALOG)
        old = priced(both, "starter_monthly")
        held = await both.subscribe("acme")
        await both.hear()
        assert await both.desk.plan("acme") == "starter"

        await push(both, DEARER)
        new = priced(both, "starter_monthly")
        assert new != old
        assert (both.stripe.get(old)["active"], both.stripe.get(new)["active"]) == (False, True)
        both.prices["starter_monthly"] = new
        await both.subscribe("globex")
        await both.hear()
        assert [await both.desk.plan(key) for key in ("acme", "globex")] == ["starter", "starter"]

        both.stripe.advance(days=32)
        await both.hear()
        [item] = both.stripe.get(held)["items"]["data"]
        assert item["price"]["id"] == old
        assert await both.desk.plan("acme") == "starter"
        [record] = await both.desk.held("acme")
        assert record.price == "starter_monthly"
        assert record.current_period_end is not None
        assert record.current_period_end > both.desk.clock.now()
        assert not {"parked", "failed"} & set(await both.desk.states())
        assert (await both.sync(execute=False)).differing == 0


async def test_a_replaced_price_is_its_plan_when_what_was_before_is_heard_late(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await push(both, CATALOG)
        await both.subscribe("acme")
        await push(both, DEARER)
        # Heard of only now, from events that were made before and after the price was replaced.
        both.stripe.webhooks.reverse()
        await both.hear()
        assert await both.desk.plan("acme") == "starter"
        clock.advance(minutes=5)  # events of the shelf wait until the push is surely over
        await both.desk.work()
        assert not {"parked", "failed"} & set(await both.desk.states())
