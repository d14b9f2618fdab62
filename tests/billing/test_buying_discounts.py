"""Promotion codes: beside the discounts that there are, and for customers once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened


async def coupon(deal: Dealing, code: str, percent: float, duration: str) -> str:
    made = await deal.done(
        "createCoupon", as_="support", name=code, percentOff=percent, duration=duration, code=code
    )
    return str(made["objectId"])


def held(deal: Dealing, bought: str) -> list[str]:
    names = deal.stripe.get(bought)["discounts"]
    return [deal.stripe.get(name)["source"]["coupon"] for name in names]


async def test_a_code_comes_beside_the_discounts_that_there_are(deal: Dealing) -> None:
    bought = await deal.subscribe("pro")
    half = await coupon(deal, "HALF", 50, "forever")
    once = await coupon(deal, "ONCE", 10, "once")
    await deal.done("applyPromotionCode", code="HALF")
    (kept,) = deal.stripe.get(bought)["discounts"]
    await deal.done("applyPromotionCode", code="ONCE")
    assert held(deal, bought) == [half, once]
    assert deal.stripe.get(bought)["discounts"][0] == kept
    for paid in (4455, 4950):
        deal.stripe.advance(days=32)
        await deal.hear()
        bill = deal.stripe.get(deal.stripe.get(bought)["latest_invoice"])
        assert bill["amount_paid"] == paid


async def test_a_customer_uses_a_discount_once_and_support_may_give_it_again(
    deal: Dealing,
) -> None:
    bought = await deal.subscribe("pro")
    name = await coupon(deal, "ONCE", 50, "once")
    other: Any = {"promotion": {"type": "coupon", "coupon": name}, "code": "SAME"}
    await deal.door.api.ask(deal.door.api.v1.promotion_codes.create_async(other))
    await deal.done("applyPromotionCode", code="ONCE")
    for code in ("ONCE", "SAME"):  # while it is held
        assert (await deal.refused("applyPromotionCode", code=code))["code"] == "PROVIDER_REFUSED"
    deal.stripe.advance(days=32)
    await deal.hear()
    assert held(deal, bought) == []
    for code in ("ONCE", "SAME"):  # once it is over
        assert (await deal.refused("applyPromotionCode", code=code))["code"] == "PROVIDER_REFUSED"
    await deal.done("applyPromotionCode", as_="support", customer="acme", code="ONCE")
    assert held(deal, bought) == [name]


async def test_what_was_typed_on_the_page_is_used_as_well(deal: Dealing) -> None:
    await coupon(deal, "ONCE", 50, "once")
    opened = await deal.done("createCheckout", plan="firm", promotionCode="ONCE")
    deal.stripe.checkout.complete(opened["objectId"])
    deal.stripe.advance(days=32)
    await deal.hear()
    assert (await deal.refused("applyPromotionCode", code="ONCE"))["code"] == "PROVIDER_REFUSED"
