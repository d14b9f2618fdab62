"""A simulated Stripe in a process of its own, so that its work is not measured as ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from bench.machine import OTHER_CORE, free_port, server

KEY = "sk_test_" + "b" * 24
LINK = "headroom_customer"
AS_OFTEN_AS_POSSIBLE = {
    "HEADROOM_STRIPE_REQUESTS_PER_SECOND": "10000",
    "HEADROOM_STRIPE_BACKGROUND_PERCENT": "100",
}
"""So that what is measured is our own speed and not the budget of requests."""


class StripeBeside:
    """What the measurement says to the simulated Stripe."""

    def __init__(self, address: str, client: httpx.AsyncClient) -> None:
        self.address = address
        self._client = client

    async def tell(self, do: str, *args: object, **more: object) -> Any:  # noqa: ANN401 - what it answers
        """Do what the method of that name does, and return its result."""
        said = {"do": do, "args": args, "with": more}
        answer = await self._client.post(f"{self.address}/_sim", json=said)
        answer.raise_for_status()
        return answer.json()["result"]

    async def price(self, key: str) -> str:
        """Make the price that the catalog calls ``key``."""
        product = await self._post("/v1/products", {"name": key})
        said = {
            "product": product,
            "currency": "usd",
            "unit_amount": "4900",
            "recurring[interval]": "month",
            "lookup_key": key,
        }
        return await self._post("/v1/prices", said)

    async def requests(self) -> int:
        """Return how many requests were made so far."""
        return int(await self.tell("door.requests.__len__"))

    async def _post(self, path: str, form: dict[str, str]) -> str:
        bearer = {"Authorization": f"Bearer {KEY}"}
        answer = await self._client.post(f"{self.address}{path}", data=form, headers=bearer)
        answer.raise_for_status()
        return str(answer.json()["id"])


@asynccontextmanager
async def stripe_beside() -> AsyncGenerator[StripeBeside]:
    """Run a simulated Stripe until the block ends."""
    port = free_port()
    words = ("-m", "tests.stripe_sim", "--port", str(port))
    async with (
        server(words, {}, "http://", OTHER_CORE),
        httpx.AsyncClient(timeout=60) as client,
    ):
        yield StripeBeside(f"http://127.0.0.1:{port}", client)
