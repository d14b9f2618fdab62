"""Clients under load: each operation has a name, and is asked until it has an answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from tests.support.server import Server

CALLERS = 12
_PAUSE_SECONDS = 0.02


@dataclass
class Load:
    """Callers that share a list of operations; ``allowed`` are the acknowledged ones."""

    server: Server
    key: str
    customer: str
    operations: list[tuple[str, str]]
    allowed: dict[str, str] = field(default_factory=dict)
    denied: dict[str, str] = field(default_factory=dict)
    degraded: int = 0
    retries: int = 0
    _answered: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def answered(self) -> int:
        return len(self.allowed) + len(self.denied)

    async def reached(self, count: int) -> None:
        """Return once that many operations have their answer."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.answered >= count)

    def passed(self) -> Counter[str]:
        """Count the acknowledged units of each feature."""
        return Counter(self.allowed.values())

    async def caller(self, client: httpx.AsyncClient) -> None:
        while self.operations:
            operation, feature = self.operations.pop()
            response = await self._ask(client, operation, feature)
            assert response.status_code in {200, 402, 403, 429}, response.text
            passed = response.status_code == 200
            (self.allowed if passed else self.denied)[operation] = feature
            async with self._answered:
                self._answered.notify_all()

    async def _ask(self, client: httpx.AsyncClient, operation: str, feature: str) -> httpx.Response:
        while True:
            await self.server.up.wait()
            with suppress(httpx.TransportError):
                response = await client.post(
                    f"{self.server.address}/v1/consume",
                    json={"customer": self.customer, "feature": feature},
                    headers={
                        "Authorization": f"Bearer {self.key}",
                        "Idempotency-Key": operation,
                    },
                )
                if response.status_code != 503:
                    return response
            self.retries += 1
            await asyncio.sleep(_PAUSE_SECONDS)  # as a client waits before it asks again


@asynccontextmanager
async def load_on(
    server: Server, key: str, customer: str, features: Sequence[str], each: int, seed: int
) -> AsyncGenerator[Load]:
    """Ask for one unit of each feature ``each`` times, in an order that the seed decides.

    The block ends when every operation has its answer.
    """
    operations = [(f"{seed}-{f}-{n}", f) for f in features for n in range(each)]
    random.Random(seed).shuffle(operations)  # noqa: S311 - an order, not a secret
    load = Load(server, key, customer, operations)
    async with httpx.AsyncClient(timeout=10) as client, asyncio.timeout(60):
        callers = [asyncio.create_task(load.caller(client)) for _ in range(CALLERS)]
        try:
            yield load
            await asyncio.gather(*callers)
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
