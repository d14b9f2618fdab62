"""What changes as customers grow from a thousand to a million.

Each size has engines, a serving process and a worker of its own, all at once; they are loaded in
turn, round after round, so that what they cost is compared under the same conditions.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
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
from bench.population import Populated, populate
from bench.requests import cpu, ratio, recorded
from bench.rivals import GRAPHQL, V1, Rival, own_rivals
from bench.setting import FEATURE

SIZES = (1_000, 100_000, 1_000_000)
STARTS, SAMPLE = 3, 300
PIECES = ("serving", "Valkey", "worker", "PostgreSQL")


@dataclass(frozen=True, slots=True)
class Town:
    """Customers of one number, what serves them, and what making them told."""

    made: Populated
    started: Sequence[float]
    """Seconds from the start of ``headroom serve`` until it answers."""
    rivals: Sequence[Rival]
    serving: int
    beside: dict[str, int]
    redis_url: str
    filling: Sequence[float]
    """Milliseconds of the first call of customers whose counters are unknown."""


async def run(
    sizes: Sequence[int], rounds: int, seconds: int, tell: Callable[[str], None]
) -> dict[str, float]:
    """Measure every size, print it, and return the largest's CPU a decision, of the smallest's."""
    pin([os.getpid()], OTHER_CORE)
    async with AsyncExitStack() as stack:
        towns = [await stack.enter_async_context(town(size, tell)) for size in sizes]
        measured: dict[str, list[list[Round]]] = {V1: [], GRAPHQL: []}
        for rounds_of in measured.values():
            rounds_of.extend([] for _ in towns)
        for number in range(rounds + 1):
            for place, one in enumerate(towns):
                async with Redis.from_url(one.redis_url) as redis:
                    for rival in one.rivals:
                        await rival.probe()
                        found = await load(
                            rival.ask,
                            seconds=seconds,
                            server_pid=one.serving,
                            beside=one.beside,
                            settle=partial(recorded, redis),
                        )
                        if found.errors:
                            raise RuntimeError(f"{found.errors} requests failed")
                        if number:  # the first round warms up
                            measured[rival.name][place].append(found)
            tell(f"round {number} of {rounds}")
    return report(towns, measured, tell)


@asynccontextmanager
async def town(size: int, tell: Callable[[str], None]) -> AsyncGenerator[Town]:
    """Make ``size`` customers on engines of their own, and serve them until the block ends."""
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(ThrowawayEngines.start(append_only=True))
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
        started = []
        port = free_port()
        serve = (*HEADROOM, "serve", "--port", str(port), "--no-worker")
        for _ in range(STARTS):
            since = time.perf_counter()
            async with server(serve, environment, "Headroom ready"):
                started.append(time.perf_counter() - since)
        serving = await stack.enter_async_context(server(serve, environment, "Headroom ready"))
        worker = server((*HEADROOM, "worker"), environment, None, OTHER_CORE)
        beside["worker"] = await stack.enter_async_context(worker)
        filling = await _filling(engines, size)
        bearer = (f"Authorization: Bearer {made.key}",)
        rivals = own_rivals(f"http://127.0.0.1:{port}", serving, bearer, size)
        tell(f"{size:,}: serving")
        yield Town(
            made=made,
            started=started,
            rivals=[rival for rival in rivals if rival.name in (V1, GRAPHQL)],
            serving=serving,
            beside=beside,
            redis_url=engines.redis_url,
            filling=filling,
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
    towns: Sequence[Town], measured: dict[str, list[list[Round]]], tell: Callable[[str], None]
) -> dict[str, float]:
    """Print a column for each size, and return the goal's figure."""
    lines: list[tuple[str, list[str]]] = [
        ("customers", [f"{town.made.customers:,}" for town in towns])
    ]

    def line(words: str, figure: Callable[[Town], float], digits: int = 1) -> None:
        lines.append((words, [f"{figure(town):,.{digits}f}" for town in towns]))

    for name, words in ((V1, "/v1/consume"), (GRAPHQL, "GraphQL consume")):
        of = measured[name]
        lines.append(
            (f"{words}: serving, CPU us", [f"{median(map(cpu, rounds)):.1f}" for rounds in of])
        )
        lines.append(("  of the smallest", [f"{ratio(rounds, of[0], cpu):.2f}" for rounds in of]))
        for other in ("Valkey", "worker", "PostgreSQL"):
            shown = [f"{median(r.beside_us(other) for r in rounds):.1f}" for rounds in of]
            lines.append((f"  {other}, CPU us", shown))
        lines.append(
            ("  all together, of the smallest", [f"{ratio(r, of[0], _all):.2f}" for r in of])
        )
    line("Redis, bytes a customer: snapshot", lambda t: t.made.snapshot_bytes, 0)
    line("  counters, of ten windows", lambda t: t.made.counter_bytes, 0)
    line("first call, unknown counters, ms: median", lambda t: median(t.filling))
    line("  p99", lambda t: quantiles(t.filling, n=100)[98])
    line("serve, until it answers, s", lambda t: median(t.started), 2)
    line("catalog apply to all, s", lambda t: t.made.apply_seconds)
    line("  a customer, us", lambda t: t.made.apply_seconds * 1e6 / t.made.customers, 0)
    line("  peak memory, MiB", lambda t: t.made.apply_mib, 0)
    for words, shown in lines:
        tell(f"{words:42}" + "".join(f"{cell:>12}" for cell in shown))
    return {"growth": max(ratio(of[-1], of[0], _judged) for of in measured.values())}


def _judged(one: Round) -> float:
    """CPU of the two that every decision passes: the server's process, and Valkey."""
    return one.cpu_us + one.beside_us("Valkey")


def _all(one: Round) -> float:
    return one.cpu_us + sum(one.beside_us(name) for name in one.beside)
