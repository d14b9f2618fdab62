"""What one counter and one snapshot weigh, and how long an unknown customer takes to fill."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from statistics import median, quantiles

from api.catalog.customers import CustomerInput
from api.catalog.file import parse
from api.domain import keys
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.wiring import Core, core

FEATURES, SAMPLE = 5, 300

CATALOG = """
product = "storage"

[customer_types.business]
default_plan = "free"

[plans.free]
name = "Free"

[plans.free.features]
"""


async def run(customers: int, tell: Callable[[str], None]) -> dict[str, float]:
    """Weigh ``customers`` times five features times two windows, then measure hydration.

    Returns the bytes of a counter.
    """
    text = CATALOG
    for n in range(FEATURES):
        text += f"f{n} = {{ day = 1_000_000, month = 1_000_000 }}\n"
    for n in range(FEATURES):
        text += f'\n[features.f{n}]\nname = "F{n}"\nkind = "metered"\n'
    async with ThrowawayEngines.start() as engines:
        await Migrator(engines.database_url).up()
        clock = SystemClock()
        async with core(Settings(), clock, engines.database_url, engines.redis_url) as built:
            at = clock.now()
            await built.revisions.apply(parse(text, "storage.toml"), "bench", "bench", at)
            sample = [f"customer-{n:06d}" for n in range(SAMPLE)]
            for key in sample:
                await built.changes.upsert_customer(CustomerInput(key), at, "bench")
                await _use(built, key, clock)
            counter = await _weigh(built, sample, customers, tell)
            await _fill(built, sample, clock, tell)
    return {"counter": counter}


async def _use(built: Core, key: str, clock: SystemClock) -> None:
    items = [(f"f{n}", random.randint(1, 9_999)) for n in range(FEATURES)]  # noqa: S311 - sizes
    await built.gate.consume_together(key, items, None, int(clock.now().timestamp() * 1000))


async def _weigh(
    built: Core, sample: list[str], customers: int, tell: Callable[[str], None]
) -> float:
    """Copy the sample's own keys until there are ``customers`` of them, and read the memory.

    Returns the bytes of a counter.
    """
    door, counter = built.door, 0.0
    await built.drainer.drain(range(keys.SHARDS))
    for name, counted in (("counters", FEATURES * 2), ("snapshot", 1)):
        of = keys.counters if name == "counters" else keys.snapshot
        dumps = [await door.command("DUMP", of(keys.shard_of(key), key)) for key in sample]
        before = await _memory(built)
        for start in range(0, customers, 500):
            await asyncio.gather(
                *(
                    door.command(
                        "RESTORE",
                        of(keys.shard_of(f"copy-{n:09d}"), f"copy-{n:09d}"),
                        0,
                        dumps[n % len(dumps)],
                    )
                    for n in range(start, min(start + 500, customers))
                )
            )
        grown = (await _memory(built) - before) / customers
        if counted > 1:
            counter = grown / counted
        unit = "bytes a counter" if counted > 1 else "bytes a snapshot"
        tell(
            f"{customers} customers: {name} {grown:.0f} bytes a customer, "
            f"{grown / counted:.1f} {unit}"
        )
    return counter


async def _memory(built: Core) -> int:
    info = (await built.door.command("INFO", "memory")).decode()
    line = next(x for x in info.splitlines() if x.startswith("used_memory:"))
    return int(line.partition(":")[2])


async def _fill(
    built: Core, sample: list[str], clock: SystemClock, tell: Callable[[str], None]
) -> None:
    """Take the first call of a customer whose counters are unknown."""
    times = []
    for key in sample:
        await built.hydration.forget(key)
        since = time.perf_counter()
        await _use(built, key, clock)
        times.append((time.perf_counter() - since) * 1e3)
    since = time.perf_counter()
    await asyncio.gather(*(built.hydration.forget(key) for key in sample))
    await asyncio.gather(*(_use(built, key, clock) for key in sample))
    together = (time.perf_counter() - since) * 1e3 / len(sample)
    tell(
        f"hydration, {FEATURES} features x 2 windows: median {median(times):.1f} ms, "
        f"p99 {quantiles(times, n=100)[98]:.1f} ms one at a time; "
        f"{together:.1f} ms each with {len(sample)} at once"
    )
