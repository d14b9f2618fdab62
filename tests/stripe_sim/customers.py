"""Customers and their payment methods."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.billing import OVER, end
from tests.stripe_sim.cards import OK, TEST_CARDS
from tests.stripe_sim.catalog import only
from tests.stripe_sim.errors import Refused, missing
from tests.stripe_sim.listing import page_of, searched
from tests.stripe_sim.params import merged, need
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.world import World

Json = dict[str, Any]

_TEXTS = ("email", "name", "description", "phone", "business_name", "individual_name")
_NAMES = {*_TEXTS, "metadata", "invoice_settings", "payment_method", "address", "tax_exempt"}


@route("POST", "/v1/customers")
def create_customer(asked: Asked) -> Json:
    """Make a customer."""
    only(asked.params, _NAMES)
    return made_customer(asked.world, asked.params)


def made_customer(world: World, params: Json) -> Json:
    """Hold a new customer and say so."""
    made = world.make(
        "customer",
        "cus",
        balance=0,
        delinquent=False,
        invoice_prefix=world.name("HR")[3:],
        next_invoice_sequence=1,
        preferred_locales=[],
        tax_exempt="none",
        metadata={},
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
    )
    _write(world, made, params)
    world.events.emit("customer.created", made)
    return made


def _write(world: World, customer: Json, params: Json) -> None:
    customer |= {name: params[name] or None for name in _TEXTS if name in params}
    customer["metadata"] = merged(customer["metadata"], params)
    method = params.get("payment_method")
    if method:
        attach(world, method, customer["id"])
    chosen = params.get("invoice_settings", {}).get("default_payment_method")
    if chosen is not None:
        if chosen and chosen in TEST_CARDS:
            chosen = attach(world, chosen, customer["id"])["id"]
        customer["invoice_settings"]["default_payment_method"] = chosen or None


def attach(world: World, method: str, customer_id: str) -> Json:
    """Give a customer a payment method; one of Stripe's test names makes a new one."""
    found = world.store.find("payment_method", method)
    if found is None:
        found = made_method(world, method)
    if found["customer"] != customer_id:
        with world.events.changing(found, "payment_method.attached"):
            found["customer"] = customer_id
    return found


def made_method(world: World, card: str) -> Json:
    """Hold a new card. Raises: Refused, where no test card is called so."""
    if card not in TEST_CARDS:
        raise missing("payment_method", card, "payment_method")
    made = world.make("payment_method", "pm", type="card", card=_card(), metadata={})
    world.cards.answers[made["id"]] = TEST_CARDS[card]
    return made


def _card() -> Json:
    return {
        "brand": "visa",
        "checks": None,
        "country": "US",
        "display_brand": None,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": None,
        "funding": "credit",
        "generated_from": None,
        "last4": "4242",
        "networks": None,
        "regulated_status": None,
        "three_d_secure_usage": None,
        "wallet": None,
    }


def use_card(world: World, customer_id: str, card: str = OK) -> str:
    """Let a customer pay with a card from now on."""
    method = attach(world, card, customer_id)
    customer = world.store.get("customer", customer_id)
    with world.events.changing(customer, "customer.updated"):
        settings = dict(customer["invoice_settings"])
        customer["invoice_settings"] = settings | {"default_payment_method": method["id"]}
    return str(method["id"])


@route("GET", "/v1/customers/search")
def search_customers(asked: Asked) -> Json:
    """Search customers."""
    return searched(asked, "customer", "/v1/customers/search")


@route("GET", "/v1/customers/*")
def read_customer(asked: Asked) -> Json:
    """Read a customer; a deleted one says so."""
    if asked.id in asked.world.gone:
        return {"id": asked.id, "object": "customer", "deleted": True}
    return asked.world.store.get("customer", asked.id)


@route("POST", "/v1/customers/*")
def update_customer(asked: Asked) -> Json:
    """Change a customer."""
    only(asked.params, _NAMES)
    customer = living(asked.world, asked.id)
    with asked.world.events.changing(customer, "customer.updated"):
        customer["invoice_settings"] = dict(customer["invoice_settings"])
        _write(asked.world, customer, asked.params)
    return customer


def living(world: World, customer_id: str, param: str = "customer") -> Json:
    """Return a customer who was not deleted. Raises: Refused."""
    if customer_id in world.gone:
        raise Refused(
            f"No such customer: '{customer_id}'", status=404, code="resource_missing", param=param
        )
    return world.store.get("customer", customer_id, param)


def delete(world: World, customer_id: str) -> None:
    """Delete a customer; all subscriptions end."""
    customer = living(world, customer_id)
    for one in list(world.store.all("subscription", customer=customer_id)):
        if one["status"] not in OVER:
            end(world, world.store.get("subscription", one["id"]), "cancellation_requested")
    world.store.drop(customer)
    world.gone.add(customer_id)
    world.events.emit("customer.deleted", customer)


@route("DELETE", "/v1/customers/*")
def delete_customer(asked: Asked) -> Json:
    """Delete a customer."""
    delete(asked.world, asked.id)
    return {"id": asked.id, "object": "customer", "deleted": True}


@route("GET", "/v1/customers")
def list_customers(asked: Asked) -> Json:
    """List customers; an e-mail is compared as it is written."""
    return page_of(asked, "customer", "/v1/customers", same=("email",))


@route("GET", "/v1/payment_methods/*")
def read_method(asked: Asked) -> Json:
    """Read a payment method."""
    return asked.world.store.get("payment_method", asked.id)


@route("POST", "/v1/payment_methods/*/attach")
def attach_method(asked: Asked) -> Json:
    """Give a customer a payment method."""
    customer = living(asked.world, need(asked.params, "customer"))
    return attach(asked.world, asked.id, customer["id"])


@route("POST", "/v1/payment_methods/*/detach")
def detach_method(asked: Asked) -> Json:
    """Take a payment method away."""
    method = asked.world.store.get("payment_method", asked.id)
    with asked.world.events.changing(method, "payment_method.detached"):
        method["customer"] = None
    return method


@route("GET", "/v1/payment_methods")
def list_methods(asked: Asked) -> Json:
    """List a customer's payment methods."""
    return page_of(
        asked, "payment_method", "/v1/payment_methods", apart=("customer",), same=("type",)
    )


@route("GET", "/v1/customers/*/payment_methods")
def list_own_methods(asked: Asked) -> Json:
    """List a customer's payment methods."""
    whose = {"customer": asked.id, **asked.params}
    return page_of(
        Asked(asked.world, (), whose),
        "payment_method",
        f"/v1/customers/{asked.id}/payment_methods",
        same=("type", "customer"),
    )
