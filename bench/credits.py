"""What a debit costs: Headroom's beside the transaction that a team writes by hand.

Both on the same PostgreSQL, which syncs every commit as it does in production. Cold: each request
is for one of 10,000 customers. Hot: all are for the same one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from api.infra.engines.embedded import EmbeddedEngines
from api.infra.postgres import Database
from bench.machine import (
    HEADROOM,
    OTHER_CORE,
    Ask,
    Round,
    Then,
    cpu_seconds,
    free_port,
    load,
    pin,
    server,
    tree,
)
from bench.peers import ledger
from bench.setting import prepare

CUSTOMERS, CREDITS_EACH = 10_000, 10**12
SETTINGS = {"cold": CUSTOMERS, "hot": 1}
CATALOG = """
product = "bench"

[customer_types.business]
default_plan = "free"

[features.plain]
name = "Counted, costs nothing, no limits"
kind = "metered"

[features.journaled]
name = "The same, answered when recorded"
kind = "metered"
durability = "journaled"

[features.paid]
name = "Credits alone"
kind = "metered"

[features.capped]
name = "Limits, and credits"
kind = "metered"

[costs.paid]
credits = 1

[costs.capped]
credits = 1

[plans.free]
name = "Free"

[plans.free.features]
plain = "unlimited"
journaled = "unlimited"
paid = "unlimited"
capped = { day = 1_000_000_000, month = 1_000_000_000 }
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to take credits: its server, and what it is asked.

    ``against`` names the one that it is compared with. ``takes`` says whether every request takes
    credits from Headroom's ledger.
    """

    name: str
    pid: int
    url: str
    template: str
    headers: tuple[str, ...]
    against: str
    takes: bool = False
    then: Then | None = None


DEBIT, HOLD = "by hand: debit", "by hand: hold, capture"


@asynccontextmanager
async def contenders(
    engines: EmbeddedEngines,
) -> AsyncGenerator[tuple[list[Contender], Mapping[str, int]]]:
    """Start both servers on one core; with them come the processes beside them."""
    key = await prepare(
        engines.database_url,
        engines.redis_url,
        CUSTOMERS,
        CATALOG,
        "capped",
        CREDITS_EACH,
    )
    await ledger.prepare(engines.database_url, CUSTOMERS, CREDITS_EACH)
    environment = {
        "DATABASE_URL": engines.database_url,
        "REDIS_URL": engines.redis_url,
        "HEADROOM_ENV": "production",
        "HEADROOM_LOG_LEVEL": "WARNING",
        "HEADROOM_JOURNAL_MAX_ENTRIES": "1000000",
        "BENCH_KEY": key,
    }
    async with AsyncExitStack() as stack:
        port = free_port()
        words = ("-m", "uvicorn", "bench.peers.ledger:app", "--port", str(port))
        fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
        by_hand = await stack.enter_async_context(
            server((*words, *fast), environment, "Uvicorn running")
        )
        own_port = free_port()
        serve = (*HEADROOM, "serve", "--port", str(own_port), "--no-worker")
        own = await stack.enter_async_context(server(serve, environment, "Headroom ready"))
        worker = await stack.enter_async_context(
            server((*HEADROOM, "worker"), environment, None, OTHER_CORE)
        )
        pin(tree(worker), OTHER_CORE)
        bearer = (f"Authorization: Bearer {key}",)
        base, own_base = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own_port}"
        asked = {"customer": "c%d", "units": 1, "idempotencyKey": "%k"}
        plain = json.dumps(asked)
        capture = Then('"hold":"([^"]+)"', "/capture", json.dumps({"hold": "%h", **asked}))

        def ours(feature: str, *, takes: bool) -> Contender:
            template = json.dumps({"feature": feature, **asked})
            name = f"/v1/consume, {feature}"
            return Contender(name, own, f"{own_base}/v1/consume", template, bearer, DEBIT, takes)

        yield (
            [
                Contender(DEBIT, by_hand, f"{base}/debit", plain, bearer, DEBIT),
                ours("paid", takes=True),
                ours("capped", takes=True),
                ours("plain", takes=False),
                ours("journaled", takes=False),
                Contender(HOLD, by_hand, f"{base}/hold", plain, bearer, HOLD, then=capture),
                Contender(
                    "/v1/hold, /v1/capture",
                    own,
                    f"{own_base}/v1/hold",
                    json.dumps({"feature": "paid", **asked}),
                    bearer,
                    HOLD,
                    takes=True,
                    then=Then(
                        '"id":"([^"]+)","customer":"([^"]+)"[^}]*"state":"OPEN"',
                        "/v1/capture",
                        json.dumps({"holdId": "%h", "customer": "%w", "idempotencyKey": "%k"}),
                    ),
                ),
            ],
            {
                "PostgreSQL": engines.database_pid or 0,
                "Valkey": engines.redis_pid or 0,
                "worker": worker,
            },
        )


async def run(rounds: int, seconds: int, tell: Callable[[str], None]) -> None:
    """Load every contender in turn, several times; print medians and ratios."""
    folder = _folder()
    try:
        async with AsyncExitStack() as stack:
            engines = await stack.enter_async_context(EmbeddedEngines.start(folder / "data"))
            pin(tree(engines.redis_pid or 0), OTHER_CORE)
            pin([os.getpid()], OTHER_CORE)
            all_of_them, beside = await stack.enter_async_context(contenders(engines))
            database = await stack.enter_async_context(await Database.open(engines.database_url))
            measured: dict[str, dict[str, list[Round]]] = {setting: {} for setting in SETTINGS}
            for number in range(rounds + 1):
                for setting in SETTINGS:
                    for one in all_of_them:
                        found = await measure(one, setting, seconds, beside, database)
                        if found is None:
                            if not number:
                                tell(f"{one.name}: takes no credits yet, left out")
                        elif number:  # the first round warms up
                            measured[setting].setdefault(one.name, []).append(found)
                tell(f"round {number} of {rounds}")
        for setting, found_there in measured.items():
            report(setting, all_of_them, found_there, tell)
    finally:
        shutil.rmtree(folder)


async def measure(
    one: Contender, setting: str, seconds: int, beside: Mapping[str, int], database: Database
) -> Round | None:
    """Load one contender, and wait until all that it left to be done is done.

    None, where it should have taken credits and took none. Raises: RuntimeError, where a request
    failed, or took credits other than once.
    """
    entries = await _entries(database)
    before = {name: cpu_seconds(tree(pid)) for name, pid in beside.items()}
    own = cpu_seconds(tree(one.pid))
    found = await load(
        Ask(one.url, one.template, SETTINGS[setting], one.headers, one.then),
        seconds=seconds,
        server_pid=one.pid,
        beside=beside,
    )
    if found.errors:
        raise RuntimeError(f"{one.name}, {setting}: {found.errors} requests failed")
    await quiet([one.pid, *beside.values()])
    cpu = cpu_seconds(tree(one.pid)) - own
    spent = {name: cpu_seconds(tree(pid)) - before[name] for name, pid in beside.items()}
    if one.takes:
        taken = await _entries(database) - entries
        if not taken:
            return None
        # What was under way when the loader hung up is taken, and not among its answers.
        if not found.requests <= taken <= found.requests + 64:
            raise RuntimeError(f"{one.name}: {found.requests} answers, {taken} debits")
    return replace(found, cpu=cpu, beside=spent)


async def quiet(pids: Sequence[int]) -> None:
    """Wait until these processes do next to nothing, a few seconds at most."""
    for _ in range(25):
        before = sum(cpu_seconds(tree(pid)) for pid in pids)
        await asyncio.sleep(0.2)
        if sum(cpu_seconds(tree(pid)) for pid in pids) - before <= 0.02:
            return


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="headroom-bench-"))
    folder.chmod(0o711)  # for the engines' user, where we are root; what is inside is closed
    return folder


async def _entries(database: Database) -> int:
    count: int = await database.fetchval(
        "select count(*) from credit_entries where kind in ('spend', 'hold', 'capture')"
    )
    return count


def report(
    setting: str,
    all_of_them: Sequence[Contender],
    measured: Mapping[str, Sequence[Round]],
    tell: Callable[[str], None],
) -> None:
    """Print one line a contender: medians, and how many times as good as by hand.

    CPU in microseconds a request, by process; the loader's is its share of a core. The spread is
    that of the rounds' rates.
    """
    names = list(next(iter(measured.values()))[0].beside)
    head = f"{setting:26}{'per s':>8}{'spread':>14}{'x':>6}{'CPU':>8}{'x':>6}{'server':>8}"
    head += "".join(f"{name:>11}" for name in names)
    tell(f"{head}{'p50 ms':>8}{'p99 ms':>8}{'loader':>8}")
    for one in all_of_them:
        if (rounds := measured.get(one.name)) is None:
            continue
        rates = [r.requests / r.seconds for r in rounds]
        parts = [median(r.cpu_us for r in rounds)]
        parts += [median(r.beside[x] * 1e6 / r.requests for r in rounds) for x in names]
        base = measured[one.against]
        faster = median(rates) / median(r.requests / r.seconds for r in base)
        cheaper = median(map(_whole, base)) / median(map(_whole, rounds))
        line = f"{one.name:26}{median(rates):8.0f}{f'{min(rates):.0f}-{max(rates):.0f}':>14}"
        line += f"{faster:6.2f}{median(map(_whole, rounds)):8.0f}{cheaper:6.2f}{parts[0]:8.0f}"
        line += "".join(f"{part:11.0f}" for part in parts[1:])
        p50, p99 = median(r.p50 for r in rounds) / 1e3, median(r.p99 for r in rounds) / 1e3
        loader = median(r.loader_cpu / r.seconds for r in rounds)
        tell(f"{line}{p50:8.2f}{p99:8.2f}{loader:8.0%}")


def _whole(one: Round) -> float:
    return one.cpu_us + sum(one.beside.values()) * 1e6 / one.requests
