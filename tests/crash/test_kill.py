"""``kill -9`` at random moments under load, and a counter store that forgets or comes back older.

Afterwards nothing journaled was admitted past its limit, all that was acknowledged as journaled
is in the record, and a fast feature exceeds its limit by no more than the bound that is published:
the entries a shard's journal may hold (``HEADROOM_JOURNAL_MAX_ENTRIES``), for each loss.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from api.catalog.customers import CustomerInput
from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.infra.engines.embedded import find_running
from api.infra.settings import Settings
from api.wiring import Core, core
from tests.conftest import EnginesFactory
from tests.support.load import Load, load_on
from tests.support.scene import recorded, used
from tests.support.server import Server, server
from tests.support.waiting import until

CATALOG = """
product = "crash"

[customer_types.business]
default_plan = "free"

[features.fast]
name = "Fast"
kind = "metered"

[features.sure]
name = "Sure"
kind = "metered"
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
fast.year = 80
sure.year = 80
seats = 80
"""
LIMIT = 80
ASKED = 120
FEATURES = ("fast", "sure", "seats")
BOUND = 64

Fault = Callable[[], Awaitable[None]]


@dataclass
class Installation:
    """A running server, the engines it uses, and a key to ask it with."""

    server: Server
    folder: Path
    key: str


@pytest.fixture
def seed() -> int:
    """Return what decides the moments; HEADROOM_TEST_SEED repeats a run."""
    chosen = int(os.environ.get("HEADROOM_TEST_SEED") or secrets.randbelow(10**6))
    print(f"HEADROOM_TEST_SEED={chosen}")  # noqa: T201 - shown where the test fails
    return chosen


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not under tmp_path, which root closes to the user that engines run as.
    made = Path(tempfile.mkdtemp(prefix="headroom-crash-"))
    made.chmod(0o711)
    yield made
    print((made / "log").read_text()[-20_000:])  # noqa: T201 - shown where the test fails
    for lock in made.rglob("*.lock"):
        with lock.open("rb") as file:  # an engine of a killed server may still be ending
            fcntl.flock(file, fcntl.LOCK_EX)
    shutil.rmtree(made)


@asynccontextmanager
async def connected(database_url: str, redis_url: str) -> AsyncGenerator[Core]:
    settings = Settings.from_environment({"HEADROOM_ENV": "development"})
    async with core(settings, SystemClock(), database_url, redis_url) as built:
        yield built


async def prepared(database_url: str, redis_url: str) -> str:
    """Make a customer, and return a key to consume with."""
    at = datetime.now(UTC)
    async with connected(database_url, redis_url) as built:
        await built.changes.upsert_customer(CustomerInput("acme"), at, "test")
        key, _ = await ApiKeys(built.database).create(
            "load", ["consume"], at, actor="test", reason="a test"
        )
    return key


@asynccontextmanager
async def embedded(folder: Path, *more: str) -> AsyncGenerator[Installation]:
    """Serve on engines of the server's own."""
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG)
    data = folder / "data"
    async with server(
        folder / "log",
        "--data-dir",
        data,
        "--catalog",
        catalog,
        *more,
        HEADROOM_JOURNAL_MAX_ENTRIES=str(BOUND),
    ) as served:
        engines = find_running(data)
        assert engines is not None
        key = await prepared(engines.database_url, engines.redis_url)
        yield Installation(served, data, key)


def pid_of(data: Path, engine: str) -> int:
    """Return the process that holds the lock of this engine."""
    [lock] = [path for path in data.rglob("*.lock") if engine in path.name.lower()]
    return int(lock.read_text())


async def judged(load: Load, database_url: str, redis_url: str, *, losses: int) -> None:
    """Hold what clients were told against the record, once all of it is drained."""
    async with connected(database_url, redis_url) as built:
        await built.door.command("PING")
        while await built.drainer.drain(range(256)):
            pass
        at = datetime.now(UTC)
        rows = await built.database.fetch("select operation_id from usage_events")
        known = {row["operation_id"] for row in rows}
        passed = load.passed()
        for feature in ("sure", "seats"):
            acknowledged = {op for op, f in load.allowed.items() if f == feature}
            assert acknowledged <= known
            assert passed[feature] == LIMIT == await recorded(built, feature)
            assert await used(built, feature, at) == [LIMIT]
        forgotten = {op for op, f in load.allowed.items() if f == "fast"} - known
        excess = passed["fast"] - LIMIT
        print(f"forgotten {len(forgotten)}, excess {excess}, retries {load.retries}")  # noqa: T201
        assert 0 <= excess <= len(forgotten) <= losses * BOUND
        assert await recorded(built, "fast") == LIMIT
        assert await used(built, "fast", at) == [LIMIT]
        snapshot = await built.holders.snapshot("acme", at)
        assert await built.drift.compare("acme", snapshot, at) == ()


@pytest.mark.parametrize("victim", ["server", "valkey", "postgres"])
async def test_a_process_killed_under_load_breaks_no_promise(
    folder: Path, seed: int, victim: str
) -> None:
    moment = random.Random(seed).randint(5, ASKED * 2)  # noqa: S311 - a moment, not a secret
    async with embedded(folder) as installation:
        async with load_on(
            installation.server, installation.key, "acme", FEATURES, ASKED, seed
        ) as load:
            await load.reached(moment)
            if victim == "server":
                await installation.server.kill()
                await installation.server.start()
            else:
                killed = pid_of(installation.folder, victim)
                os.kill(killed, signal.SIGKILL)
        engines = find_running(installation.folder)
        assert engines is not None
        if victim != "server":
            await until(lambda: pid_of(installation.folder, victim) != killed)
        await judged(load, engines.database_url, engines.redis_url, losses=1)


async def test_flushes_under_load_forget_no_more_than_their_bound(folder: Path, seed: int) -> None:
    moments = sorted(random.Random(seed).sample(range(5, ASKED * 2), 3))  # noqa: S311 - as above
    # Without a worker nobody drains but those who wait for it, so that there is more to forget.
    async with embedded(folder, "--no-worker") as installation:
        engines = find_running(installation.folder)
        assert engines is not None
        async with load_on(
            installation.server, installation.key, "acme", FEATURES, ASKED, seed
        ) as load:
            for moment in moments:
                await load.reached(moment)
                with Redis.from_url(engines.redis_url) as redis:
                    redis.flushall()
        await judged(load, engines.database_url, engines.redis_url, losses=len(moments))


async def test_a_store_that_comes_back_from_an_older_file_is_not_believed_under_load(
    engines_factory: EnginesFactory, folder: Path, seed: int
) -> None:
    first, second = sorted(random.Random(seed).sample(range(5, ASKED * 2), 2))  # noqa: S311 - as above
    engines = await engines_factory(append_only=True)
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG)
    async with server(
        folder / "log",
        "--catalog",
        catalog,
        DATABASE_URL=engines.database_url,
        REDIS_URL=engines.redis_url,
        HEADROOM_JOURNAL_MAX_ENTRIES=str(BOUND),
    ) as served:
        key = await prepared(engines.database_url, engines.redis_url)
        async with load_on(served, key, "acme", FEATURES, ASKED, seed) as load:
            await load.reached(first)
            older = engines.copy_append_only_file()
            await load.reached(second)
            await engines.restart_valkey(older)
        await judged(load, engines.database_url, engines.redis_url, losses=1)
