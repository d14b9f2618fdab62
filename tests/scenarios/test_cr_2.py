"""CR-2: bought, but never granted.

| what happens                      | here       | afterwards                          |
|-----------------------------------|------------|-------------------------------------|
| acme pays, every event is lost    | no credits | reconciliation grants them, once    |
| it is refunded, and that is lost  | all        | reconciliation takes them back      |
"""

from typing import Any

from tests.support.billing import CATALOG, PACKS
from tests.support.clock import FakeClock
from tests.support.reconciling import paired


async def test_credits_that_were_paid_for_are_granted_once_by_reconciliation(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, catalog=CATALOG + PACKS) as both:
        api = both.desk.door.api
        product = await api.ask(api.v1.products.create_async({"name": "Boost"}))
        price = await api.ask(
            api.v1.prices.create_async(
                {"product": product.id, "currency": "usd", "unit_amount": 1000}
            )
        )
        said: Any = {
            "mode": "payment",
            "line_items": [{"price": price.id, "quantity": 1}],
            "client_reference_id": "acme",
            "metadata": {"headroom_pack": "boost"},
            "success_url": "https://example.com/done",
        }
        session = await api.ask(api.v1.checkout.sessions.create_async(said))
        both.stripe.checkout.complete(session.id)
        both.stripe.webhooks.drop("*")
        both.desk.clock.advance(hours=1)
        assert await both.desk.balance() == 0

        report = await both.sync(execute=False)
        assert report.counts["missing_credits"] == 1
        await both.sync()
        await both.sync()
        await both.desk.work()
        assert await both.desk.balance() == 100
        await both.act()
        assert await both.items() == [("missing_credits", session.id, "resolved")]
        assert (await both.sync()).counts["missing_credits"] == 0
        await both.desk.work()
        assert await both.desk.balance() == 100

        payment = both.stripe.get(session.id)["payment_intent"]
        refund = await api.ask(api.v1.refunds.create_async({"payment_intent": payment}))
        both.stripe.webhooks.drop("*")
        assert (await both.sync()).counts["payments_differing"] == 1
        await both.desk.work()
        assert await both.desk.balance() == 0
        both.stripe.fail_refund(refund.id)
        both.stripe.webhooks.drop("*")
        assert (await both.sync()).counts["payments_differing"] == 1
        await both.desk.work()
        assert await both.desk.balance() == 100
        assert (await both.sync()).counts["payments_differing"] == 0
