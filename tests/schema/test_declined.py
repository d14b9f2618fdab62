"""SUB-8: a card that is declined leaves the change waiting, and the rights as they were."""

from tests.support.dealing import STANDING, Dealing

ENTITLED = """
{ check(feature: "tx_post", units: 301) { allowed } }
"""


async def test_a_declined_card_leaves_the_change_waiting_and_says_so_to_the_customer(
    deal: Dealing,
) -> None:
    await deal.subscribe("starter")
    (buyer,) = deal.stripe.all("customer")
    deal.stripe.use_card(buyer["id"], "fails")
    deal.clock.advance(days=1)
    limits = await deal.limit("tx_post"), await deal.limit("tx_analyze")
    done = await deal.done("changePlan", plan="pro")
    assert (done["waitsForPayment"], done["error"]) == (True, None)
    await deal.hear()
    own = (await deal.post(STANDING, key="acme"))["data"]["customer"]
    (held,) = own["subscriptions"]
    assert (own["plan"]["key"], held["plan"]["key"]) == ("starter", "starter")
    assert (held["pendingPlan"], held["status"]) == ({"key": "pro"}, "ACTIVE")
    assert (await deal.limit("tx_post"), await deal.limit("tx_analyze")) == limits == (300, 500)
    assert (await deal.post(ENTITLED))["data"]["check"]["allowed"] is False
