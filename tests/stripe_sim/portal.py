"""Billing portal sessions, and the list of events."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.catalog import only
from tests.stripe_sim.customers import living
from tests.stripe_sim.errors import missing
from tests.stripe_sim.listing import page_of
from tests.stripe_sim.params import need
from tests.stripe_sim.routes import Asked, route

Json = dict[str, Any]


@route("POST", "/v1/billing_portal/sessions")
def create_portal(asked: Asked) -> Json:
    """Open the portal for a customer."""
    world, params = asked.world, asked.params
    only(params, {"customer", "return_url", "configuration", "locale", "flow_data"})
    customer = living(world, need(params, "customer"))
    made = world.make(
        "billing_portal.session",
        "bps",
        configuration=params.get("configuration", "bpc_default"),
        customer=customer["id"],
        return_url=params.get("return_url"),
    )
    made["url"] = f"https://billing.stripe.com/p/session/{made['id']}"
    world.events.emit("billing_portal.session.created", made)
    return made


@route("GET", "/v1/events/*")
def read_event(asked: Asked) -> Json:
    """Read an event of the last thirty days."""
    event = asked.world.store.get("event", asked.id)
    if not asked.world.events.kept(event):
        raise missing("event", asked.id)
    return event


@route("GET", "/v1/events")
def list_events(asked: Asked) -> Json:
    """List the events of the last thirty days, newest first."""
    types, one = asked.params.get("types"), asked.params.get("type")

    def fits(event: Json) -> bool:
        said = event["type"]
        return (
            asked.world.events.kept(event)
            and (one is None or _is(said, one))
            and (types is None or any(_is(said, name) for name in types))
        )

    return page_of(
        asked,
        "event",
        "/v1/events",
        other=("type", "types", "delivery_success"),
        fits=fits,
    )


def _is(event_type: str, said: str) -> bool:
    return event_type.startswith(said[:-1]) if said.endswith("*") else event_type == said
