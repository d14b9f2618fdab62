"""How fast the journal goes into the record, and how fast the judge can fill it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from api.domain import keys
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.settings import Settings
from api.wiring import core
from bench.machine import cpu_seconds, tree
from bench.setting import CUSTOMERS, FEATURE, prepare

OPERATIONS, AT_ONCE = 100_000, 1_000


async def run(tell: Callable[[str], None]) -> None:
    """Fill the journal through the gate, then drain it; print both rates and what they cost."""
    async with ThrowawayEngines.start(append_only=True) as engines:
        await prepare(engines.database_url, engines.redis_url)
        settings = Settings(journal_max_entries=10_000_000)
        clock = SystemClock()
        async with core(settings, clock, engines.database_url, engines.redis_url) as built:
            for n in range(CUSTOMERS):
                await built.gate.check(f"c{n}", FEATURE, 1, int(clock.now().timestamp() * 1000))
            since = time.perf_counter()
            for start in range(0, OPERATIONS, AT_ONCE):
                at = int(clock.now().timestamp() * 1000)
                await asyncio.gather(
                    *(
                        built.gate.consume(f"c{n % CUSTOMERS}", FEATURE, 1, None, at)
                        for n in range(start, start + AT_ONCE)
                    )
                )
            admitted = OPERATIONS / (time.perf_counter() - since)
            postgres = tree(engines.postgres.child.pid) if engines.postgres.child else []
            own_before, postgres_before = cpu_seconds([os.getpid()]), cpu_seconds(postgres)
            since = time.perf_counter()
            recorded = 0
            while passed := await built.drainer.drain(range(keys.SHARDS)):
                recorded += passed
            seconds = time.perf_counter() - since
            own = (cpu_seconds([os.getpid()]) - own_before) * 1e6 / recorded
            theirs = (cpu_seconds(tree(postgres[0])) - postgres_before) * 1e6 / recorded
        tell(f"gate, no HTTP: {admitted:,.0f} admissions/s in one process")
        tell(
            f"drain: {recorded / seconds:,.0f} events/s into PostgreSQL "
            f"({own:.0f} us of the drainer's CPU and {theirs:.0f} us of PostgreSQL's an event)"
        )
