"""A planted mistake in an object is found, whatever its kind."""

from typing import Any

import pytest
import stripe

from tests.stripe_sim import Misshapen, SimulatedStripe, check
from tests.stripe_sim.shapes import copied, new
from tests.stripe_sim_tests.making import price_of, subscribed

Json = dict[str, Any]

KINDS = [
    "product",
    "price",
    "customer",
    "checkout.session",
    "subscription",
    "subscription_item",
    "coupon",
    "discount",
    "refund",
    "subscription_schedule",
    "invoice",
    "line_item",
    "invoiceitem",
    "invoice_payment",
    "payment_intent",
    "charge",
    "dispute",
    "promotion_code",
    "billing_portal.session",
    "payment_method",
    "setup_intent",
    "item",
    "plan",
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_object_of_every_kind_is_well_shaped(kind: str) -> None:
    check(new(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_no_object_of_the_kind_has_is_found(kind: str) -> None:
    with pytest.raises(Misshapen, match="subscription_name: not declared"):
        check(new(kind, subscription_name="x"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_id_is_found(kind: str) -> None:
    made = new(kind)
    del made["id"]
    with pytest.raises(Misshapen, match="id: missing"):
        check(made)


def _at(obj: Json, path: str) -> tuple[Any, Any]:
    within: Any = obj
    *way, last = path.split(".")
    for name in way:
        within = within[int(name) if name.isdigit() else name]
    return within, int(last) if last.isdigit() else last


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "trailing"),
        ("status", None),
        ("cancel_at_period_end", 0),
        ("cancel_at_period_end", "false"),
        ("created", "1700000000"),
        ("created", True),
        ("cancel_at", "tomorrow"),
        ("metadata", {"tries": 3}),
        ("metadata", None),
        ("discounts", "di_1"),
        ("discounts", [7]),
        ("customer", None),
        ("current_period_end", 1_700_000_000),
        ("items", []),
        ("items.has_more", None),
        ("items.data.0.current_period_end", None),
        ("items.data.0.price.recurring.interval", "fortnight"),
        ("items.data.0.price.unit_amount_decimal", 49.0),
        ("items.data.0.price.unit_amount_decimal", "cheap"),
        ("items.data.0.price.vat", 19),
        ("latest_invoice", 7),
        ("automatic_tax.enabled", None),
    ],
)
async def test_a_wrong_field_of_a_subscription_is_found_at_any_depth(
    sim: SimulatedStripe, api: stripe.StripeClient, path: str, value: object
) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    wrong = copied(sim.get(bought.id))
    check(wrong)
    holder, name = _at(wrong, path)
    holder[name] = value
    with pytest.raises(Misshapen):
        check(wrong)


@pytest.mark.parametrize(
    "path", ["status", "items", "items.data.0.price", "items.data.0.price.active", "items.url"]
)
async def test_a_field_that_must_be_there_is_missed(
    sim: SimulatedStripe, api: stripe.StripeClient, path: str
) -> None:
    bought = await subscribed(api, sim.customer(), await price_of(api))
    wrong = copied(sim.get(bought.id))
    holder, name = _at(wrong, path)
    del holder[name]
    with pytest.raises(Misshapen):
        check(wrong)


async def test_an_event_is_held_against_its_types_with_the_object_in_it(
    sim: SimulatedStripe,
) -> None:
    sim.customer(card=None)
    event = copied(sim.events[0])
    check(event)
    with pytest.raises(Misshapen, match="none of"):
        check(event | {"type": "customer.invented"})
    event["data"]["object"]["nick"] = "Al"
    with pytest.raises(Misshapen, match="nick"):
        check(event)


async def test_a_wrong_object_of_the_simulation_fails_the_request(
    sim: SimulatedStripe, api: stripe.StripeClient
) -> None:
    held = sim.get(sim.customer())
    held["nick"] = "Al"
    with pytest.raises(stripe.APIError, match="nick"):
        await api.v1.customers.retrieve_async(held["id"])
    assert isinstance(sim.door.bugs.pop(), Misshapen)
