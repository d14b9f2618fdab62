"""What changes as customers grow from a thousand to a million.

Each size has engines, a serving process and a worker of its own, all at once; they are loaded in
turn, round after round, so that what they cost is compared under the same conditions.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

from redis.asyncio import Redis

from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.settings import Settings
from api.wiring import core
from bench.machine import HEADROOM, OTHER_CORE, Round, free_port, load, pin, server, tree
from bench.population import Populated, Walked, populate, walk
from bench.requests import cpu, ratio, recorded
from bench.rivals import GRAPHQL, NAMES, V1, Rival, own_rivals
from bench.setting import FEATURE

SIZES = (1_000, 100_000, 1_000_000)
STARTS, SAMPLE = 3, 300

Measured = dict[str, list[list[Round]]]
"""The rounds of every size, by what was asked."""


@dataclass(frozen=True, slots=True)
class Town:
    """Customers of one number, what serves them, and what was measured so far.

    ``started`` are seconds from the start of ``headroom serve`` until it answers; ``filling``
    milliseconds of the first call of customers whose counters are unknown.
    """

    made: Populated
    engines: ThrowawayEngines
    rivals: Sequence[Rival]
    serving: int
    beside: Mapping[str, int]
    started: Sequence[float]
    filling: Sequence[float]


async def run(
    sizes: Sequence[int], rounds: int, seconds: int, tell: Callable[[str], None]
) -> dict[str, float]:
    """Measure every size, print it, and return the largest's CPU a decision, of the smallest's."""
    pin([os.getpid()], OTHER_CORE)
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as processes:
            towns = []
            for size in sizes:
                engines = await stack.enter_async_context(ThrowawayEngines.start(append_only=True))
                towns.append(await processes.enter_async_context(town(engines, size, tell)))
            measured: Measured = {name: [[] for _ in towns] for name in (V1, GRAPHQL)}
            for number in range(rounds + 1):
                for place, one in enumerate(towns):
                    for name, found in (await _round(one, seconds)).items():
                        if number:  # the first round warms up
                            measured[name][place].append(found)
                tell(f"round {number} of {rounds}")
        # With nothing else running, and last: it leaves customers behind where it takes too long.
        walked = [await walk(one.engines, one.made.customers) for one in towns]
    return report(towns, measured, walked, tell)


async def _round(one: Town, seconds: int) -> dict[str, Round]:
    found = {}
    async with Redis.from_url(one.engines.redis_url) as redis:
        for rival in one.rivals:
            await rival.probe()
            found[rival.name] = await load(
                rival.ask,
                seconds=seconds,
                server_pid=one.serving,
                beside=one.beside,
                settle=partial(recorded, redis),
            )
            if found[rival.name].errors:
                raise RuntimeError(f"{found[rival.name].errors} requests failed")
    return found


@asynccontextmanager
async def town(
    engines: ThrowawayEngines, size: int, tell: Callable[[str], None]
) -> AsyncGenerator[Town]:
    """Make ``size`` customers on these engines, and serve them until the block ends."""
    assert engines.valkey.child is not None
    assert engines.postgres.child is not None
    beside = {"Valkey": engines.valkey.child.pid, "PostgreSQL": engines.postgres.child.pid}
    for pid in beside.values():
        pin(tree(pid), OTHER_CORE)
    made = await populate(engines, size, tell)
    environment = {
        "DATABASE_URL": engines.database_url,
        "REDIS_URL": engines.redis_url,
        "HEADROOM_LOG_LEVEL": "WARNING",
        "HEADROOM_JOURNAL_MAX_ENTRIES": "1000000",
    }
    port = free_port()
    serve = (*HEADROOM, "serve", "--port", str(port), "--no-worker")
    started = []
    for _ in range(STARTS):
        since = time.perf_counter()
        async with server(serve, environment, "Headroom ready"):
            started.append(time.perf_counter() - since)
    async with (
        server(serve, environment, "Headroom ready") as serving,
        server((*HEADROOM, "worker"), environment, None, OTHER_CORE) as worker,
    ):
        rivals = own_rivals(
            f"http://127.0.0.1:{port}", serving, (f"Authorization: Bearer {made.key}",), size
        )
        yield Town(
            made=made,
            engines=engines,
            rivals=[rival for rival in rivals if rival.name in (V1, GRAPHQL)],
            serving=serving,
            beside=beside | {"worker": worker},
            started=started,
            filling=await _filling(engines, size),
        )


async def _filling(engines: ThrowawayEngines, size: int) -> list[float]:
    """Take the first call of customers whose counters are unknown, one after the other."""
    clock = SystemClock()
    times = []
    async with core(Settings(), clock, engines.database_url, engines.redis_url) as built:
        for n in random.sample(range(size), min(SAMPLE, size)):
            await built.hydration.forget(f"c{n}")
            since = time.perf_counter()
            at_ms = int(clock.now().timestamp() * 1000)
            await built.gate.consume(f"c{n}", FEATURE, 1, None, at_ms)
            times.append((time.perf_counter() - since) * 1e3)
    return times


def report(
    towns: Sequence[Town],
    measured: Measured,
    walked: Sequence[Walked],
    tell: Callable[[str], None],
) -> dict[str, float]:
    """Print a column for each size, and return the goal's figure."""

    def line(words: str, cells: Iterable[str]) -> None:
        tell(f"{words:46}" + "".join(f"{cell:>12}" for cell in cells))

    line("customers", (f"{town.made.customers:,}" for town in towns))
    for name in (V1, GRAPHQL):
        of = measured[name]
        line(f"{NAMES[name]}: serving, CPU us", (f"{median(map(cpu, r)):.1f}" for r in of))
        for other in ("Valkey", "worker", "PostgreSQL"):
            line(f"  {other}", (f"{median(r.beside_us(other) for r in rs):.1f}" for rs in of))
        line("  serving, of the smallest", (f"{ratio(r, of[0], cpu):.2f}" for r in of))
        line("  serving and Valkey", (f"{ratio(r, of[0], _judged):.2f}" for r in of))
        line("  all four", (f"{ratio(r, of[0], _all):.2f}" for r in of))
    line("Redis, bytes a customer: snapshot", (f"{t.made.snapshot_bytes:.0f}" for t in towns))
    line("  counters of ten windows", (f"{t.made.counter_bytes:.0f}" for t in towns))
    line("PostgreSQL, bytes a customer's row", (f"{t.made.row_bytes:.0f}" for t in towns))
    line("  a usage event", (f"{t.made.event_bytes:.0f}" for t in towns))
    line("first call, counters unknown, ms: median", (f"{median(t.filling):.1f}" for t in towns))
    line("  p99", (f"{quantiles(t.filling, n=100)[98]:.1f}" for t in towns))
    line("serve, until it answers, s", (f"{median(t.started):.2f}" for t in towns))
    line("catalog apply: customers brought to it", (f"{w.customers:,}" for w in walked))
    line("  s", (f"{w.seconds:.1f}" for w in walked))
    line("  a customer, us", (f"{w.seconds * 1e6 / max(1, w.customers):.0f}" for w in walked))
    line("  its own CPU, us", (f"{w.cpu * 1e6 / max(1, w.customers):.0f}" for w in walked))
    line("  peak memory, MiB", (f"{w.mib:.0f}" for w in walked))
    return {"growth": max(ratio(of[-1], of[0], _judged) for of in measured.values())}


def _judged(one: Round) -> float:
    """CPU of the two that every decision passes: the server's process, and Valkey."""
    return one.cpu_us + one.beside_us("Valkey")


def _all(one: Round) -> float:
    return one.cpu_us + sum(one.beside_us(name) for name in one.beside)
