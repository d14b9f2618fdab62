"""The cost of one request: Headroom's doors beside what a team would write by hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median

from api.infra.engines.throwaway import ThrowawayEngines
from bench.machine import OTHER_CORE, Round, load, pin, server, tree
from bench.setting import CUSTOMERS, FEATURE, prepare

HEADROOM = ("-c", "from api.cli import main; main()")
GRAPHQL = (
    "mutation C($i: ConsumeInput!) { consume(input: $i)"
    " { id units replayed windows { window limit used remaining resetsAt } } }"
)
STOCK = (
    "mutation C($c: String!, $f: String!) { consume(customer: $c, feature: $f, units: 1)"
    " { allowed windows { window used limit } } }"
)


@dataclass(frozen=True, slots=True)
class Rival:
    """One server and what it is asked."""

    name: str
    url: str
    pid: int
    template: str
    headers: tuple[str, ...] = ()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def rivals(
    engines: ThrowawayEngines, *, stock: bool = True
) -> AsyncGenerator[tuple[list[Rival], int]]:
    """Start every server on the same engines and core; with them comes the worker's process id."""
    environment = {
        "DATABASE_URL": engines.database_url,
        "REDIS_URL": engines.redis_url,
        "HEADROOM_ENV": "production",
        "HEADROOM_LOG_LEVEL": "WARNING",
        "HEADROOM_JOURNAL_MAX_ENTRIES": "1000000",
    }
    key = await prepare(engines.database_url, engines.redis_url)
    async with AsyncExitStack() as stack:

        async def peer(module: str) -> tuple[int, int]:
            port = free_port()
            words = ("-m", "uvicorn", f"bench.peers.{module}:app", "--port", str(port))
            fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
            pid = await stack.enter_async_context(
                server((*words, *fast), environment, "Uvicorn running")
            )
            return port, pid

        by_hand, by_hand_pid = await peer("handwritten")
        port = free_port()
        serve = (*HEADROOM, "serve", "--port", str(port), "--no-worker")
        own = await stack.enter_async_context(server(serve, environment, "Headroom ready"))
        worker = await stack.enter_async_context(
            server((*HEADROOM, "worker"), environment, None, OTHER_CORE)
        )
        pin(tree(worker), OTHER_CORE)
        plain = {"customer": "c%d", "feature": FEATURE, "units": 1}
        bearer = (f"Authorization: Bearer {key}",)
        document = {"query": GRAPHQL, "variables": {"i": plain}}
        base = f"http://127.0.0.1:{port}"
        found = [
            Rival(
                "B hand-written",
                f"http://127.0.0.1:{by_hand}/consume",
                by_hand_pid,
                json.dumps(plain),
            ),
            Rival("/v1/consume", f"{base}/v1/consume", own, json.dumps(plain), bearer),
            Rival("GraphQL consume", f"{base}/graphql", own, json.dumps(document), bearer),
        ]
        if stock:
            stock_port, stock_pid = await peer("stock_strawberry")
            asked = {"query": STOCK, "variables": {"c": "c%d", "f": FEATURE}}
            url = f"http://127.0.0.1:{stock_port}/"
            found.append(Rival("stock Strawberry", url, stock_pid, json.dumps(asked)))
        yield found, worker


async def run(rounds: int, seconds: int, tell: Callable[[str], None]) -> None:
    """Load every server in turn, several times, and print medians and ratios."""
    async with ThrowawayEngines.start(append_only=True) as engines:
        redis_pid = engines.valkey.child.pid if engines.valkey.child else 0
        pin(tree(redis_pid), OTHER_CORE)
        pin([os.getpid()], OTHER_CORE)
        async with rivals(engines) as (all_rivals, worker):
            postgres = engines.postgres.child
            beside = {"Valkey": redis_pid, "worker": worker}
            if postgres is not None:
                beside["PostgreSQL"] = postgres.pid
            measured: dict[str, list[Round]] = {r.name: [] for r in all_rivals}
            for number in range(rounds + 1):
                for rival in all_rivals:
                    one = await load(
                        rival.url,
                        rival.template,
                        customers=CUSTOMERS,
                        headers=rival.headers,
                        seconds=seconds,
                        server_pid=rival.pid,
                        beside=beside,
                    )
                    if one.errors:
                        raise RuntimeError(f"{rival.name}: {one.errors} requests failed")
                    if number:  # the first round warms up
                        measured[rival.name].append(one)
                tell(f"round {number} of {rounds}")
            report(measured, tell)


def report(measured: dict[str, list[Round]], tell: Callable[[str], None]) -> None:
    """Print one line a server: medians over the rounds, and the ratio to B.

    All CPU is in microseconds a request, but the loader's: that is its share of a core.
    """
    base = median(r.cpu_us for r in measured["B hand-written"])
    beside = list(measured["B hand-written"][0].beside)
    head = f"{'':18}{'CPU':>8}{'of B':>7}{'req/s':>9}{'1/CPU':>9}{'p50 ms':>8}{'p99 ms':>8}"
    tell(head + "".join(f"{name:>12}" for name in beside) + f"{'loader':>8}")
    for name, rounds in measured.items():
        cpu = median(r.cpu_us for r in rounds)
        rate = median(r.requests / r.seconds for r in rounds)
        loader = median(r.loader_cpu / r.seconds for r in rounds)
        p50, p99 = median(r.p50 for r in rounds) / 1e3, median(r.p99 for r in rounds) / 1e3
        line = (
            f"{name:18}{cpu:8.1f}{cpu / base:7.2f}{rate:9.0f}{1e6 / cpu:9.0f}{p50:8.2f}{p99:8.2f}"
        )
        for other in beside:
            line += f"{median(r.beside[other] * 1e6 / r.requests for r in rounds):12.1f}"
        tell(f"{line}{loader:8.0%}")


def machine() -> str:
    """Say on what this was measured."""
    kernel = subprocess.run(["uname", "-sr"], capture_output=True, text=True, check=True)  # noqa: S607 - a fixed command
    return f"{os.cpu_count()} cores, {kernel.stdout.strip()}, Python {sys.version.split()[0]}"
