"""The way to Stripe and back: keys, faults, lists, webhooks."""

import asyncio
import random
from typing import Any

import pytest
import stripe

from tests.stripe_sim import SimulatedStripe
from tests.stripe_sim_tests.making import price_of, subscribed, taking

Api = stripe.StripeClient


async def test_the_same_key_and_parameters_get_the_same_answer(
    sim: SimulatedStripe, api: Api
) -> None:
    first = await api.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    again = await api.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(sim.all("customer")) == 1
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        await api.v1.customers.create_async({"name": "B"}, {"idempotency_key": "k"})
    sim.advance(days=1)
    later = await api.v1.customers.create_async({"name": "B"}, {"idempotency_key": "k"})
    assert later.id != first.id


async def test_an_answer_that_was_lost_is_found_again_by_its_key(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.faults.cut_next(after_effect=True, path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        await api.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    (held,) = sim.all("customer")
    again = await api.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert again.id == held["id"]


async def test_a_request_that_is_cut_before_its_work_did_nothing(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.faults.cut_next(after_effect=False)
    with pytest.raises(stripe.APIConnectionError):
        await api.v1.customers.create_async({"name": "A"})
    assert sim.all("customer") == []


async def test_limits_errors_and_outages_come_when_told(sim: SimulatedStripe, api: Api) -> None:
    sim.faults.fail_next(status=429, path="/v1/customers", retry_after=2)
    with pytest.raises(stripe.RateLimitError) as limited:
        await api.v1.customers.list_async()
    assert limited.value.headers is not None
    assert limited.value.headers["Retry-After"] == "2"
    sim.faults.fail_next(status=503)
    with pytest.raises(stripe.APIError):
        await api.v1.customers.list_async()
    sim.faults.outage = True
    with pytest.raises(stripe.APIConnectionError):
        await api.v1.customers.list_async()
    sim.faults.clear()
    await api.v1.customers.list_async()
    assert sim.faults.asked("/v1/customers", "GET") == 4


async def test_more_requests_in_a_second_than_the_cap_are_refused(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.faults.per_second = 2
    await api.v1.customers.list_async()
    await api.v1.customers.list_async()
    with pytest.raises(stripe.RateLimitError):
        await api.v1.customers.list_async()
    sim.advance(seconds=1)
    await api.v1.customers.list_async()


async def test_a_key_whose_request_is_on_its_way_is_taken_only_once(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.door.keys.begin("k", "/v1/customers", {"name": "A"})
    with pytest.raises(stripe.APIError) as refused:
        await api.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k"})
    assert refused.value.http_status == 409


async def test_what_is_not_there_or_not_known_is_refused_as_stripe_does(api: Api) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await api.v1.customers.retrieve_async("cus_x")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    wrong: Any = {"nick": "Al"}
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await api.v1.customers.create_async(wrong)
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "nick")


async def test_one_lookup_key_has_one_price(sim: SimulatedStripe, api: Api) -> None:
    old = await price_of(api, key="starter")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await price_of(api, key="starter")
    new = await api.v1.prices.create_async(
        {
            "product": sim.get(old)["product"],
            "currency": "usd",
            "unit_amount": 1,
            "lookup_key": "starter",
            "transfer_lookup_key": True,
        }
    )
    found = await api.v1.prices.list_async({"lookup_keys": ["starter"]})
    assert [one.id for one in found.data] == [new.id]


async def test_metadata_is_merged_and_an_empty_value_unsets(api: Api) -> None:
    made = await api.v1.customers.create_async({"metadata": {"a": "1", "b": "2"}})
    after = await api.v1.customers.update_async(made.id, {"metadata": {"a": "", "c": "3"}})
    assert after.metadata is not None
    assert after.metadata.to_dict() == {"b": "2", "c": "3"}


async def test_lists_are_paged_and_filtered(sim: SimulatedStripe, api: Api) -> None:
    made = [sim.customer(email=f"{n}@example.com", card=None) for n in range(25)]
    first = await api.v1.customers.list_async({"limit": 10})
    assert [one.id for one in first.data] == made[:14:-1]
    everyone = [one.id async for one in first.auto_paging_iter()]
    assert everyone == made[::-1]
    before = await api.v1.customers.list_async({"limit": 3, "ending_before": made[20]})
    assert [one.id for one in before.data] == made[23:20:-1]
    (found,) = (await api.v1.customers.list_async({"email": "7@example.com"})).data
    assert found.id == made[7]


async def test_events_are_listed_by_type_and_time_and_for_thirty_days(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.customer(card=None)
    sim.advance(days=29)
    sim.customer(card=None)
    listed = await api.v1.events.list_async({"types": ["customer.created"]})
    assert len(listed.data) == 2
    after = listed.data[1].created
    late = await api.v1.events.list_async({"type": "customer.*", "created": {"gt": after}})
    assert len(late.data) == 1
    sim.advance(days=2)
    assert len((await api.v1.events.list_async()).data) == 1


async def test_a_list_in_an_object_shows_ten(sim: SimulatedStripe, api: Api) -> None:
    prices = [await price_of(api, 100 + n) for n in range(12)]
    items = [{"price": price} for price in prices]
    made = await api.v1.subscriptions.create_async({"customer": sim.customer(), "items": items})  # type: ignore[arg-type]
    shown = made["items"]
    assert (len(shown["data"]), shown["has_more"]) == (10, True)
    rest = await api.v1.subscription_items.list_async({"subscription": made.id, "limit": 100})
    assert len(rest.data) == 12


async def test_the_package_takes_the_signatures(sim: SimulatedStripe) -> None:
    sim.advance_to(sim.at(int(asyncio.get_running_loop().time()) + 2_000_000_000))
    sim.customer(card=None)
    taken: list[tuple[bytes, str]] = []
    await sim.webhooks.deliver_to(taking(taken))
    ((body, header),) = taken
    stripe.WebhookSignature.verify_header(body.decode(), header, sim.webhooks.secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body.decode() + " ", header, sim.webhooks.secret)


async def test_what_is_not_taken_comes_again_later(sim: SimulatedStripe) -> None:
    sim.customer(card=None)
    assert await sim.webhooks.deliver_to(taking([], 500)) == [500]
    assert await sim.webhooks.deliver_to(taking([])) == []
    sim.advance(minutes=1)
    assert await sim.webhooks.deliver_to(taking([])) == [200]
    assert sim.webhooks.pending == []


async def test_chance_repeats_itself_under_one_seed(sim: SimulatedStripe, api: Api) -> None:
    await subscribed(api, sim.customer(), await price_of(api))
    whole = list(sim.webhooks.pending)
    runs = []
    for _ in range(2):
        sim.webhooks.pending = list(whole)
        sim.webhooks.scramble(random.Random(7), drop=0.2, duplicate=0.2)  # noqa: S311 - a seed
        runs.append([one.id for one in sim.webhooks.pending])
    assert runs[0] == runs[1]
    assert runs[0] != [one.id for one in whole]


async def test_a_payment_is_refunded_in_parts_and_disputed(sim: SimulatedStripe, api: Api) -> None:
    await subscribed(api, sim.customer(), await price_of(api, 3000))
    (charge,) = sim.all("charge")
    await api.v1.refunds.create_async({"charge": charge["id"], "amount": 1000})
    await api.v1.refunds.create_async({"payment_intent": charge["payment_intent"]})
    assert sim.get(charge["id"])["refunded"] is True
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded"):
        await api.v1.refunds.create_async({"charge": charge["id"]})
    assert len((await api.v1.refunds.list_async({"charge": charge["id"]})).data) == 2
    dispute = sim.disputes.open(charge["id"])
    sim.disputes.close(dispute["id"], "won")
    assert sim.events[-1]["type"] == "charge.dispute.closed"


async def test_a_promotion_code_takes_its_part_off(sim: SimulatedStripe, api: Api) -> None:
    coupon = await api.v1.coupons.create_async({"percent_off": 20, "duration": "once"})
    code = await api.v1.promotion_codes.create_async(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SPRING"}
    )
    (found,) = (await api.v1.promotion_codes.list_async({"code": "spring"})).data
    assert found.id == code.id
    bought = await subscribed(
        api, sim.customer(), await price_of(api), discounts=[{"promotion_code": code.id}]
    )
    assert sim.get(str(bought.latest_invoice))["amount_paid"] == 2400
    sim.advance(days=32)
    assert sim.get(sim.get(bought.id)["latest_invoice"])["amount_paid"] == 3000


async def test_a_delayed_payment_arrives_or_fails(sim: SimulatedStripe, api: Api) -> None:
    price = await api.v1.prices.create_async(
        {"currency": "usd", "unit_amount": 900, "product_data": {"name": "Pack"}}
    )
    for then, word in ((sim.checkout.arrive, "paid"), (sim.checkout.fail_async, "unpaid")):
        session = await api.v1.checkout.sessions.create_async(
            {
                "mode": "payment",
                "success_url": "https://example.com",
                "line_items": [{"price": price.id, "quantity": 2}],
            }
        )
        assert sim.checkout.complete(session.id, delayed=True)["payment_status"] == "unpaid"
        assert then(session.id)["payment_status"] == word
    assert sim.events[-1]["type"] == "checkout.session.async_payment_failed"


async def test_many_planted_subscriptions_are_listed_a_page_at_a_time(
    sim: SimulatedStripe, api: Api
) -> None:
    sim.plant(2000, await price_of(api), metadata_key="headroom_customer")
    first = await api.v1.subscriptions.list_async({"limit": 100, "status": "all"})
    assert len([one.id async for one in first.auto_paging_iter()]) == 2000
    one = await api.v1.subscriptions.retrieve_async("sub_planted00000007")
    assert one.metadata["headroom_customer"] == "planted00000007"


async def test_a_portal_and_a_manual_invoice_are_opened(sim: SimulatedStripe, api: Api) -> None:
    customer = sim.customer()
    portal = await api.v1.billing_portal.sessions.create_async({"customer": customer})
    assert portal.url.startswith("https://")
    draft = await api.v1.invoices.create_async(
        {"customer": customer, "collection_method": "send_invoice", "days_until_due": 14}
    )
    await api.v1.invoice_items.create_async(
        {"customer": customer, "invoice": draft.id, "amount": 500}
    )
    await api.v1.invoices.send_invoice_async(str(draft.id))
    paid = await api.v1.invoices.pay_async(str(draft.id), {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid_off_stripe) == ("paid", 500)
