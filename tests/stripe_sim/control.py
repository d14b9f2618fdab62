"""The test's side of a simulated Stripe that runs in another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from inspect import isawaitable
from operator import attrgetter
from typing import Any

import orjson

from tests.stripe_sim.door import Answer, Request
from tests.stripe_sim.server import listening
from tests.stripe_sim.simulation import SimulatedStripe

Json = dict[str, Any]

_SHORT = {"deliver": "webhooks.deliver"}


async def told(stripe: SimulatedStripe, request: Request) -> Answer | None:
    """Do what a request to ``/_sim`` says; any other request is none of this."""
    if request.path != "/_sim":
        return None
    said: Json = orjson.loads(request.text)
    name: str = _SHORT.get(said["do"]) or said["do"]
    try:
        found = attrgetter(name)(stripe)
        result: Any = found
        if callable(found):
            result = found(*said.get("args", []), **said.get("with", {}))
        if isawaitable(result):
            result = await result
        return Answer(200, {"result": orjson.loads(orjson.dumps(result, default=str))}, {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Answer(400, {"error": {"type": "sim", "message": repr(error)}}, {})


@asynccontextmanager
async def controlled(stripe: SimulatedStripe, port: int) -> AsyncGenerator[str]:
    """Serve Stripe's API and ``/_sim`` on a port."""

    async def also(request: Request) -> Answer | None:
        return await told(stripe, request)

    async with listening(stripe.door, port, also) as server:
        stripe.server = server
        yield server.address
