"""Many customers, fast: rows by the record, snapshots by the publishing script, counters copied."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from api.catalog import publisher
from api.catalog.file import parse
from api.catalog.publisher import encode
from api.domain import keys
from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.lua import Script
from api.infra.migrations import Migrator
from api.infra.packing import unpack
from api.infra.postgres import Database
from api.infra.settings import Settings
from api.metering.hydration import OTHER_EPOCH
from api.wiring import Core, core
from bench.machine import HEADROOM, cpu_seconds
from bench.setting import FEATURE, shop

FEATURES = 5
CATALOG = shop(FEATURES)
AT_ONCE = 1_000
WALK_SECONDS = 120
"""A walk that takes longer is measured by how far it came."""
_PUBLISH = Script.load(publisher.__file__, "publish")

_CUSTOMERS = """
insert into customers (key, type, created_at, updated_at, catalog_revision, published_version)
select 'c' || n, 'business', $2, $2, $3, 1 from generate_series(0, $1::bigint - 1) as n
"""
_EVENTS = """
insert into usage_events (customer_id, operation_id, item, at, feature_id, units)
select customers.id, '~past' || customers.id, 0, $1, features.id, 7 from customers, features
where features.key = 'calls'
"""
_TOTALS = """
insert into usage_totals (customer_id, feature_id, hour, units)
select customers.id, features.id, date_trunc('hour', $1::timestamptz), 7 from customers, features
where features.key = 'calls'
"""
_NUMBERED = """
select min(id) from customers having count(*) = $1 and bool_and(key = 'c' || (id - 1))
"""
_BYTES = """
select pg_total_relation_size('customers') as customers,
    (select sum(pg_total_relation_size(inhrelid)) from pg_inherits
     where inhparent = 'usage_events'::regclass) as events
"""
_BALANCES = """
insert into balances (customer_id, feature_id, units)
select customers.id, features.id, 7 from customers, features where features.key = 'calls'
"""


@dataclass(frozen=True, slots=True)
class Populated:
    """Customers of one number, and what they take in both stores."""

    customers: int
    key: str
    row_bytes: float
    event_bytes: float
    snapshot_bytes: float
    counter_bytes: float


@dataclass(frozen=True, slots=True)
class Walked:
    """What bringing a catalog to customers took: to so many of them in so many seconds."""

    customers: int
    seconds: float
    cpu: float
    mib: float


async def populate(
    engines: ThrowawayEngines, customers: int, tell: Callable[[str], None]
) -> Populated:
    """Make ``customers`` with five features of two windows each and one event each, all known.

    Rows are written by the record itself. Everybody gets the snapshot that was built for the
    first, in its own name, through the script that publishes. Counters are filled by a first call
    for one customer of each shard, and copied to the others of the shard, whose past is the same.
    """
    await Migrator(engines.database_url).up()
    clock = SystemClock()
    async with (
        core(Settings(), clock, engines.database_url, engines.redis_url) as built,
        Redis.from_url(engines.redis_url) as redis,
    ):
        at = clock.now()
        revision = await built.revisions.apply(parse(CATALOG, "bench.toml"), "bench", "bench", at)
        past = at - timedelta(days=1, hours=2)
        await built.partitions.ensure([past])
        # Past our own door, which gives no statement longer than half a minute.
        record = await asyncpg.connect(engines.database_url)
        try:
            await record.execute(_CUSTOMERS, customers, at, revision.number)
            for statement in (_EVENTS, _TOTALS):
                await record.execute(statement, past)
            await record.execute(_BALANCES)
            await record.execute("vacuum analyze")
            weighed = await record.fetchrow(_BYTES)
            if weighed is None:
                raise RuntimeError("nothing was weighed")
            first_id = await record.fetchval(_NUMBERED, customers)
        finally:
            await record.close()
        if first_id is None:
            raise RuntimeError("the customers were not numbered in their order")
        before = await _memory(redis)
        await _publish(built, range(customers), first_id, revision.number, clock.now())
        published = await _memory(redis)
        await _fill(built, redis, customers, clock)
        filled = await _memory(redis)
        while (await redis.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.5)
        key, _ = await ApiKeys(built.database).create(
            "bench", ["consume"], at, actor="bench", reason="bench"
        )
    seconds = (clock.now() - at).total_seconds()
    tell(f"{customers:,} customers made in {seconds:.0f} s")
    return Populated(
        customers=customers,
        key=key,
        row_bytes=weighed["customers"] / customers,
        event_bytes=int(weighed["events"]) / customers,
        snapshot_bytes=(published - before) / customers,
        counter_bytes=(filled - published) / customers,
    )


async def walk(engines: ThrowawayEngines, customers: int) -> Walked:
    """Apply another catalog as an operator does, and give up after a while; nothing else runs."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(CATALOG.replace("1000000000", "2000000000"))
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
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,  # its progress
        )
        cpu = mib = 0.0
        while process.returncode is None and time.perf_counter() - since < WALK_SECONDS:
            cpu = cpu_seconds([process.pid]) or cpu
            mib = _peak_mib(process.pid) or mib
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await process.wait()
        seconds = time.perf_counter() - since
        if process.returncode is None:
            process.kill()
            await process.wait()
        elif process.returncode:
            raise RuntimeError("headroom catalog apply failed")
    async with await Database.open(engines.database_url) as database:
        moved = await database.fetchval(
            "select count(*) from customers where catalog_revision ="
            " (select max(revision) from catalog_revisions)"
        )
    if process.returncode == 0 and moved != customers:
        raise RuntimeError(f"only {moved} of {customers} came to the new catalog")
    return Walked(moved, seconds, cpu, mib)


def _peak_mib(pid: int) -> float:
    """Return the most memory that a process had so far, in MiB; 0 when it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


async def _publish(built: Core, numbers: range, first_id: int, revision: int, at: datetime) -> None:
    snapshot = await built.holders.snapshot("c0", at)

    async def one(n: int) -> None:
        await _publish_one(
            built, f"c{n}", encode(replace(snapshot, customer_id=first_id + n), revision)
        )

    for start in numbers[::AT_ONCE]:
        await asyncio.gather(*map(one, numbers[start : start + AT_ONCE]))


async def _publish_one(built: Core, key: str, told: list[str | bytes | int]) -> None:
    shard = keys.shard_of(key)
    names = (keys.snapshot(shard, key), keys.counters(shard, key))
    reply = unpack(await built.door.call(_PUBLISH, shard, names, told))
    if reply[0] == OTHER_EPOCH:
        await built.door.renew_epoch(shard)
        reply = unpack(await built.door.call(_PUBLISH, shard, names, told))
    if reply[0] != 1:
        raise RuntimeError(f"the snapshot of {key} was not taken: {reply}")


async def _fill(built: Core, redis: Redis, customers: int, clock: SystemClock) -> None:
    samples: dict[int, bytes] = {}
    for n in range(min(customers, 20 * keys.SHARDS)):
        shard = keys.shard_of(f"c{n}")
        if shard in samples:
            continue
        await built.gate.check(f"c{n}", FEATURE, 1, int(clock.now().timestamp() * 1000))
        dumped = await redis.dump(keys.counters(shard, f"c{n}"))
        if dumped is None:
            raise RuntimeError(f"c{n} has no counters")
        samples[shard] = dumped
    numbers = iter(range(customers))
    while some := [n for n, _ in zip(numbers, range(AT_ONCE), strict=False)]:
        async with redis.pipeline(transaction=False) as pipe:
            for n in some:
                shard = keys.shard_of(f"c{n}")
                pipe.restore(keys.counters(shard, f"c{n}"), 0, samples[shard], replace=True)
            await pipe.execute()


async def _memory(redis: Redis) -> int:
    used: int = (await redis.info("memory"))["used_memory"]
    return used
