"""Callers within this process: each operation has a name, and is asked until it is answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from api.domain import keys
from api.domain.errors import Unavailable
from api.gates.outcome import Consumption
from api.wiring import Core

CALLERS = 8
PAUSE_SECONDS = 0.02


@dataclass
class Asking:
    """Callers on several installations; ``allowed`` are the operations that were acknowledged."""

    at_ms: int
    operations: list[tuple[str, str, str]]
    allowed: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    answered: int = 0
    retries: int = 0
    degraded: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reached(self, count: int) -> None:
        """Return once that many operations have their answer."""
        async with self._news:
            await self._news.wait_for(lambda: self.answered >= count)

    async def caller(self, core: Core) -> None:
        while self.operations:
            customer, feature, name = self.operations.pop()
            outcome = await self._ask(core, customer, feature, name)
            if isinstance(outcome, Consumption):
                self.degraded += outcome.degraded
                self.allowed.setdefault((customer, feature), set()).add(name)
            async with self._news:
                self.answered += 1
                self._news.notify_all()

    async def _ask(self, core: Core, customer: str, feature: str, name: str) -> object:
        while True:
            try:
                return await core.gate.consume(customer, feature, 1, name, self.at_ms)
            except Unavailable:
                self.retries += 1
                await asyncio.sleep(PAUSE_SECONDS)  # as a client waits before it asks again


@asynccontextmanager
async def asking(
    cores: Sequence[Core], at_ms: int, customers: Sequence[str], asked: dict[str, int]
) -> AsyncGenerator[Asking]:
    """Ask for units of each feature for each customer; at the end of the block all is answered.

    A drainer runs beside them, as a worker's would.
    """
    operations = [
        (customer, feature, f"{feature}-{number}")
        for customer in customers
        for feature, times in asked.items()
        for number in range(times)
    ]
    random.Random(len(operations)).shuffle(operations)  # noqa: S311 - only an order
    load = Asking(at_ms, operations)
    drain = asyncio.create_task(_drain(cores[0]))
    callers = [asyncio.create_task(load.caller(c)) for c in cores for _ in range(CALLERS)]
    try:
        yield load
        async with asyncio.timeout(120):
            await asyncio.gather(*callers)
    finally:
        for task in (drain, *callers):
            task.cancel()
        await asyncio.gather(drain, *callers, return_exceptions=True)


async def drained(core: Core) -> None:
    """Record all that the journals hold."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                await core.door.epochs()
                if not await core.drainer.drain(range(keys.SHARDS)):
                    return


async def _drain(core: Core) -> None:
    while True:
        try:
            await core.drainer.follow()
        except Unavailable:
            await asyncio.sleep(PAUSE_SECONDS)
