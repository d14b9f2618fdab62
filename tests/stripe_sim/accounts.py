"""The account that a key is of."""

from __future__ import annotations

from typing import Any

from tests.stripe_sim.catalog import only
from tests.stripe_sim.routes import Asked, route
from tests.stripe_sim.shapes import new

Json = dict[str, Any]


@route("GET", "/v1/account")
def read_account(asked: Asked) -> Json:
    """Return who asks."""
    only(asked.params, set())
    return new(
        "account",
        id=asked.world.account,
        type="standard",
        charges_enabled=True,
        details_submitted=True,
        payouts_enabled=True,
        country="US",
        default_currency="usd",
    )
