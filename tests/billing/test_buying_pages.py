"""Pages that are open: one of a basket, one of all plans; and customers deleted at Stripe."""

from collections.abc import AsyncIterator

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.scene import BOOKKEEPER

MORE = "\n".join(
    f'[add_ons.extra_{n}]\nplans = ["firm"]\n[add_ons.extra_{n}.prices]\n'
    f'extra_{n} = {{ amount_minor = 100, currency = "usd", interval = "month" }}\n'
    f"[add_ons.extra_{n}.features]\ncompanies = 1\n"
    for n in range(12)
)
PACK = """
[packs.credits_500]
name = "500 credits"
credits = 500

[packs.credits_500.prices]
credits_500 = { amount_minor = 1500, currency = "usd", interval = "once" }
"""


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    async with dealing(database_url, redis_url, clock, BOOKKEEPER + PACK) as opened:
        yield opened


def states(deal: Dealing) -> list[str]:
    return sorted(one["status"] for one in deal.stripe.all("checkout.session"))


async def test_the_same_basket_gives_the_page_that_is_open(deal: Dealing) -> None:
    first = await deal.done("createCheckout", plan="pro")
    again = await deal.done("createCheckout", plan="pro")
    assert (again["id"], again["url"]) == (first["id"], first["url"])
    assert states(deal) == ["open"]


async def test_a_page_of_another_plan_takes_the_place_of_the_first(deal: Dealing) -> None:
    """So two trials, and two subscriptions, are not begun by going through both."""
    first = await deal.done("createCheckout", plan="pro")
    second = await deal.done("createCheckout", plan="firm")
    third = await deal.done("createCheckout", plan="pro")
    assert len({first["objectId"], second["objectId"], third["objectId"]}) == 3
    assert states(deal) == ["expired", "expired", "open"]
    deal.stripe.checkout.complete(third["objectId"])
    await deal.hear()
    assert await deal.plan() == "pro"


async def test_a_page_that_offers_a_trial_is_not_given_back_to_who_had_one(deal: Dealing) -> None:
    opened = await deal.done("createCheckout", plan="pro")
    await deal.subscribe("starter")
    await deal.done(
        "cancelSubscription", as_="support", customer="acme", ending="NOW", reason="a test"
    )
    await deal.hear()
    other = await deal.done("createCheckout", plan="pro")
    assert other["objectId"] != opened["objectId"]
    assert deal.stripe.get(opened["objectId"])["status"] == "expired"
    deal.stripe.checkout.complete(other["objectId"])
    await deal.hear()
    assert (await deal.standing())["subscriptions"][-1]["status"] == "ACTIVE"


async def test_packs_leave_pages_of_plans_open_and_are_bought_again(deal: Dealing) -> None:
    await deal.done("createCheckout", plan="pro")
    one = await deal.done("createCheckout", pack="credits_500")
    assert states(deal) == ["open", "open"]
    deal.stripe.checkout.complete(one["objectId"])
    other = await deal.done("createCheckout", pack="credits_500")
    assert other["objectId"] != one["objectId"]


async def test_a_page_that_ended_meanwhile_hinders_nothing(deal: Dealing) -> None:
    first = await deal.done("createCheckout", plan="pro")
    deal.stripe.checkout.expire(first["objectId"])
    assert (await deal.done("createCheckout", plan="pro"))["objectId"] != first["objectId"]


async def test_prices_of_many_lines_are_read_ten_at_a_time(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with dealing(database_url, redis_url, clock, BOOKKEEPER + MORE) as deal:
        before = deal.stripe.faults.asked("/v1/prices", "GET")
        more = [{"addOn": f"extra_{n}", "quantity": 1} for n in range(12)]
        opened = await deal.done("createCheckout", plan="firm", addOns=more)
        assert deal.stripe.faults.asked("/v1/prices", "GET") == before + 2
        deal.stripe.checkout.complete(opened["objectId"])
        await deal.hear()
        assert await deal.plan() == "firm"


async def test_a_customer_deleted_at_stripe_buys_again(deal: Dealing) -> None:
    bought = await deal.subscribe("starter")
    deal.stripe.delete_customer(deal.stripe.get(bought)["customer"])
    await deal.hear()
    assert (await deal.refused("createPortalSession"))["code"] == "NOT_FOUND"
    opened = await deal.done("createCheckout", plan="pro")
    deal.stripe.checkout.complete(opened["objectId"])
    await deal.hear()
    assert await deal.plan() == "pro"
    assert (await deal.done("createPortalSession"))["state"] == "CONFIRMED"
    forgotten = "select reason from audit_log where action = 'customer.unlinked'"
    assert await deal.core.database.fetchval(forgotten) == "deleted at the payment provider"
