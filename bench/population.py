"""Many customers, fast: rows by the record itself, snapshots by the real walk, counters copied."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from redis.asyncio import Redis

from api.catalog.file import parse
from api.domain import keys
from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.wiring import Core, core
from bench.machine import HEADROOM
from bench.setting import FEATURE, shop

FEATURES = 5
COPIED_AT_ONCE = 1_000

_CUSTOMERS = """
insert into customers (key, type, created_at, updated_at, catalog_revision)
select 'c' || n, 'business', $2, $2, $3 from generate_series(0, $1::bigint - 1) as n
"""
_EVENTS = """
insert into usage_events (customer_id, operation_id, item, at, feature_id, units)
select customers.id, 'past-' || features.id, 0, $1, features.id, 7 from customers, features
"""
_TOTALS = """
insert into usage_totals (customer_id, feature_id, hour, units)
select customers.id, features.id, date_trunc('hour', $1::timestamptz), 7 from customers, features
"""
_BALANCES = """
insert into balances (customer_id, feature_id, units)
select customers.id, features.id, 7 from customers, features
"""


@dataclass(frozen=True, slots=True)
class Populated:
    """Customers of one number: what they take, and what telling them a new catalog took."""

    customers: int
    key: str
    apply_seconds: float
    apply_mib: float
    snapshot_bytes: float
    counter_bytes: float


async def populate(
    engines: ThrowawayEngines, customers: int, tell: Callable[[str], None]
) -> Populated:
    """Make ``customers`` with five features of two windows each and a past, all of them known.

    Every snapshot is published by ``headroom catalog apply``. Counters are filled by a first call
    for one customer of each shard, and copied to the others of the shard, whose past is the same.
    """
    await Migrator(engines.database_url).up()
    clock = SystemClock()
    async with (
        core(Settings(), clock, engines.database_url, engines.redis_url) as built,
        Redis.from_url(engines.redis_url) as redis,
    ):
        at = clock.now()
        text = shop(FEATURES)
        revision = await built.revisions.apply(parse(text, "bench.toml"), "bench", "bench", at)
        past = at - timedelta(days=1, hours=2)
        await built.partitions.ensure([past])
        await built.database.execute(_CUSTOMERS, customers, at, revision.number)
        for statement in (_EVENTS, _TOTALS):
            await built.database.execute(statement, past)
        await built.database.execute(_BALANCES)
        await built.database.execute("analyze")
        tell(f"{customers:,}: in the record")
        before = await _memory(redis)
        seconds, mib = await _apply(engines, text.replace("1000000000", "2000000000"))
        snapshots = await _memory(redis)
        tell(f"{customers:,}: {seconds:.1f} s to bring a catalog to all, {mib:.0f} MiB")
        await _fill(built, redis, customers, clock)
        counters = await _memory(redis)
        key, _ = await ApiKeys(built.database).create(
            "bench", ["consume"], at, actor="bench", reason="bench"
        )
    return Populated(
        customers,
        key,
        seconds,
        mib,
        (snapshots - before) / customers,
        (counters - snapshots) / customers,
    )


async def _apply(engines: ThrowawayEngines, text: str) -> tuple[float, float]:
    """Apply a catalog as an operator does; return the seconds, and the MiB at most in memory."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        since = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *HEADROOM,
            "catalog",
            "apply",
            file.name,
            "--json",
            env={"DATABASE_URL": engines.database_url, "REDIS_URL": engines.redis_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # its progress
        )
        peak = asyncio.create_task(_peak(process.pid))
        said, _ = await process.communicate()
        seconds = time.perf_counter() - since
        if process.returncode:
            raise RuntimeError(f"catalog apply: {said.decode()}")
        return seconds, await peak


async def _peak(pid: int) -> float:
    """Return the most memory that a process had, in MiB, as last seen before its end."""
    peak = 0.0
    with suppress(FileNotFoundError, ProcessLookupError):
        while True:
            status = _status(pid)
            found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            if not found:
                break
            peak = int(found[0]) / 1024
            await asyncio.sleep(0.05)
    return peak


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def _fill(built: Core, redis: Redis, customers: int, clock: SystemClock) -> None:
    samples: dict[int, bytes] = {}
    for n in range(min(customers, 20 * keys.SHARDS)):
        shard = keys.shard_of(f"c{n}")
        if shard in samples:
            continue
        await built.gate.check(f"c{n}", FEATURE, 1, int(clock.now().timestamp() * 1000))
        samples[shard] = await redis.dump(keys.counters(shard, f"c{n}"))
    numbers = iter(range(customers))
    while some := [n for n, _ in zip(numbers, range(COPIED_AT_ONCE), strict=False)]:
        async with redis.pipeline(transaction=False) as pipe:
            for n in some:
                shard = keys.shard_of(f"c{n}")
                pipe.restore(keys.counters(shard, f"c{n}"), 0, samples[shard], replace=True)
            await pipe.execute()


async def _memory(redis: Redis) -> int:
    used: int = (await redis.info("memory"))["used_memory"]
    return used
