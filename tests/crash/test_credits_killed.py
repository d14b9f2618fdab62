"""``kill -9`` at random moments under load that spends and holds credits.

Every operation is asked under its name until it has an answer. Then nothing acknowledged is lost,
nothing is charged twice, and balance, ledger, usage and counters are what was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.catalog.customers import CustomerInput
from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.infra.settings import Settings
from api.wiring import Core, core
from tests.conftest import EnginesFactory
from tests.support.server import Server, server
from tests.support.spending import ACTOR, DEADLINE, agree, books, grant, work

CATALOG = """
product = "crash"

[customer_types.business]
default_plan = "free"

[features.chat]
name = "Chats"
kind = "metered"

[features.claim]
name = "Claims"
kind = "metered"

[costs.chat]
credits = 2

[costs.claim]
credits = 5

[plans.free]
name = "Free"
[plans.free.features]
chat.year = { units = 20, overage = "credits" }
claim = "unlimited"
"""
GRANTED = 330
EACH = 50
CALLERS = 10
DENIED = 402
PARTS = ("api.app", "api.worker")
_PAUSE_SECONDS = 0.02


@dataclass
class Load:
    """Callers that share a list of operations, and what they were told at last."""

    server: Server
    key: str
    operations: list[tuple[str, str]]
    units: Counter[str] = field(default_factory=Counter)
    spent: int = 0
    answered: int = 0
    denied: int = 0
    retries: int = 0
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reached(self, count: int) -> None:
        """Return once that many operations have their answer."""
        async with self._more:
            await self._more.wait_for(lambda: self.answered >= count)

    async def caller(self, client: httpx.AsyncClient) -> None:
        while self.operations:
            name, kind = self.operations.pop()
            if kind == "hold":
                await self._hold(client, name)
            else:
                told = await self._ask(client, "consume", name, feature=kind, units=1)
                if told is not None:
                    self.units[kind] += 1
                    self.spent += told["funding"]["credits"]
            self.answered += 1
            async with self._more:
                self._more.notify_all()

    async def _hold(self, client: httpx.AsyncClient, name: str) -> None:
        told = await self._ask(client, "hold", name, feature="chat", units=2)
        if told is None:
            return
        end, more = ("void", {}) if name.endswith("0") else ("capture", {"units": 1})
        done = await self._ask(client, end, f"{name}-end", holdId=told["id"], **more)
        assert done is not None
        self.units["chat"] += done["captured"]
        self.spent += done["spentCredits"]

    async def _ask(
        self, client: httpx.AsyncClient, door: str, name: str, **said: object
    ) -> dict[str, Any] | None:
        """Ask until there is an answer; None is a denial."""
        while True:
            await self.server.up.wait()
            with suppress(httpx.TransportError):
                response = await client.post(
                    f"{self.server.address}/v1/{door}",
                    json={"customer": "acme", **said},
                    headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": name},
                )
                if response.status_code == DENIED:
                    self.denied += 1
                    return None
                if response.is_success:
                    answer: dict[str, Any] = response.json()
                    return answer
                assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
            self.retries += 1
            await asyncio.sleep(_PAUSE_SECONDS)  # as a client waits before it asks again


@asynccontextmanager
async def loaded(served: Server, key: str, seed: int) -> AsyncGenerator[Load]:
    """Ask for everything, in an order that the seed decides; ends when all is answered."""
    kinds = ("chat", "claim", "hold")
    operations = [(f"{seed}-{kind}-{n}", kind) for kind in kinds for n in range(EACH)]
    random.Random(seed).shuffle(operations)  # noqa: S311 - an order, not a secret
    load = Load(served, key, operations)
    async with httpx.AsyncClient(timeout=10) as client, asyncio.timeout(60):
        callers = [asyncio.create_task(load.caller(client)) for _ in range(CALLERS)]
        try:
            yield load
            await asyncio.gather(*callers)
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)


@asynccontextmanager
async def connected(database_url: str, redis_url: str) -> AsyncGenerator[Core]:
    settings = Settings.from_environment({"HEADROOM_ENV": "development"})
    async with core(settings, SystemClock(), database_url, redis_url) as built:
        yield built


async def prepared(database_url: str, redis_url: str) -> str:
    """Make a customer with credits; return a key to consume with."""
    at = datetime.now(UTC)
    async with connected(database_url, redis_url) as built:
        await built.changes.upsert_customer(CustomerInput("acme"), at, ACTOR)
        await grant(built, "acme", GRANTED, at)
        key, _ = await ApiKeys(built.database).create(
            "load", ["consume"], at, actor=ACTOR, reason="a test"
        )
    return key


@pytest.fixture
def seed() -> int:
    """Return what decides the moments; HEADROOM_TEST_SEED repeats a run."""
    chosen = int(os.environ.get("HEADROOM_TEST_SEED") or secrets.randbelow(10**6))
    print(f"HEADROOM_TEST_SEED={chosen}")  # noqa: T201 - shown where the test fails
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="headroom-crash-"))
    yield made
    print((made / "log").read_text()[-20_000:])  # noqa: T201 - shown where the test fails
    shutil.rmtree(made)


@pytest.mark.parametrize("victim", ["server", "api.app", "api.worker", "valkey", "postgres"])
async def test_what_was_acknowledged_is_charged_and_nothing_else(
    engines_factory: EnginesFactory, folder: Path, seed: int, victim: str
) -> None:
    engines = await engines_factory(append_only=True)
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG)
    moments = sorted(random.Random(seed).sample(range(3, EACH * 3 - 10), 2))  # noqa: S311 - as above
    async with server(
        folder / "log",
        "--catalog",
        catalog,
        DATABASE_URL=engines.database_url,
        REDIS_URL=engines.redis_url,
    ) as served:
        key = await prepared(engines.database_url, engines.redis_url)
        async with loaded(served, key, seed) as load:
            for moment in moments:
                await load.reached(moment)
                if victim == "server":
                    await served.kill()
                    await served.start()
                elif victim in PARTS:
                    await served.kill_part(victim)
                elif victim == "valkey":
                    await engines.restart_valkey()
                else:
                    await engines.restart_postgres()
        assert load.answered == 3 * EACH
        print(f"denied {load.denied}, retries {load.retries}, spent {load.spent}")  # noqa: T201
        async with connected(engines.database_url, engines.redis_url) as built:
            await work(built, datetime.now(UTC) + DEADLINE)
            chats, claims = [await books(built, "acme", feature) for feature in ("chat", "claim")]
            assert chats.units == load.units["chat"]
            assert claims.units == load.units["claim"]
            assert (chats.spent, chats.held) == (load.spent, 0)
            assert chats.available == GRANTED - load.spent
            await agree(built, "acme", datetime.now(UTC))
