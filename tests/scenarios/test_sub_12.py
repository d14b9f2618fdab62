"""SUB-12: a coupon is created and applied, and money is given back in full or in part."""

from tests.support.clock import FakeClock
from tests.support.dealing import dealing

LOG = '{ auditLog(first: 20, customer: "acme") { edges { node { action reason actor } } } }'


async def test_a_coupon_is_made_applied_and_a_payment_refunded(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock) as deal:
        bought = await deal.subscribe("pro")
        made = await deal.done(
            "createCoupon", as_="support", name="A fifth off", percentOff=20, code="FIFTH"
        )
        assert (made["state"], made["code"]) == ("CONFIRMED", "FIFTH")
        await deal.done("applyPromotionCode", code="FIFTH")
        await deal.hear()
        deal.stripe.advance(days=32)
        await deal.hear()
        invoice = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
        assert invoice["amount_paid"] == 7920

        payment = next(p["id"] for p in deal.stripe.all("payment_intent") if p["amount"] == 7920)
        part = await deal.done(
            "refundPayment", as_="support", payment=payment, amountMinor=920, customer="acme"
        )
        assert part["state"] == "ANSWERED"
        await deal.hear()
        rest = await deal.done("refundPayment", as_="support", payment=payment, customer="acme")
        await deal.hear()
        assert rest["state"] == "ANSWERED"
        assert [one["amount"] for one in deal.stripe.all("refund")] == [920, 7000]
        assert (await deal.standing())["pendingOperations"] == []

        more = await deal.refused("refundPayment", as_="support", payment=payment)
        assert more["code"] == "PROVIDER_REFUSED"
        acts = [edge["node"] for edge in (await deal.ask(LOG))["auditLog"]["edges"]]
        assert [one["reason"] for one in acts if one["action"] == "billing.refund"] == [
            "a test",
            "a test",
        ]
