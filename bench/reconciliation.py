"""How long it takes to compare every subscription with Stripe, and how much memory."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from api.billing.looks import Look, look
from api.catalog.customers import CustomerInput
from api.catalog.file import load
from api.infra.clock import SystemClock
from api.infra.engines.embedded import EmbeddedEngines
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.wiring import Core, core
from api.wiring.payments import inbox_worker_of, stripe_of
from bench.machine import HEADROOM, cpu_seconds
from bench.stripe_beside import AS_OFTEN_AS_POSSIBLE, KEY, LINK, StripeBeside, stripe_beside
from bench.webhooks import EXAMPLES, reachable_folder

ONE_IN = 100
_LOOK_EVERY = 0.02

_CUSTOMERS = """
insert into customers (key, type, created_at, updated_at, catalog_revision)
select 'planted' || lpad(n::text, 8, '0'), type, created_at, updated_at, catalog_revision
from customers cross join generate_series(1, $1 - 1) as n
"""
_LINKS = """
insert into customer_links (provider, provider_id, customer_id, created_at)
select 'stripe', 'cus_' || key, id, created_at from customers
on conflict do nothing
"""
_SUBSCRIPTIONS = """
insert into subscriptions (
    customer_id, provider, provider_id, status, plan, price, add_ons, current_period_start,
    current_period_end, billing_anchor, provider_created_at, created_at, updated_at, paid_until
)
select
    c.id, s.provider, 'sub_' || c.key, s.status, s.plan, s.price, s.add_ons, s.current_period_start,
    s.current_period_end, s.billing_anchor, s.provider_created_at, s.created_at, s.updated_at,
    s.paid_until
from subscriptions s join customers c on c.id <> s.customer_id
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: seconds of its process from start to end, its CPU, peak memory, what it asked."""

    seconds: float
    cpu: float
    peak_mib: float
    requests: int
    compared: int
    differing: int


async def run(subscriptions: int, rounds: int, tell: Callable[[str], None]) -> None:
    """Compare everything, dry, when all is in step and when one in a hundred is not."""
    with reachable_folder() as folder:
        async with stripe_beside() as stripe, EmbeddedEngines.start(folder / "data") as engines:
            environment = {
                "DATABASE_URL": engines.database_url,
                "REDIS_URL": engines.redis_url,
                "HEADROOM_LOG_LEVEL": "WARNING",
                "STRIPE_SECRET_KEY": KEY,
                "STRIPE_API_BASE": stripe.address,
                **AS_OFTEN_AS_POSSIBLE,
            }
            settings = Settings.from_environment(environment)
            await Migrator(engines.database_url).up()
            async with core(
                settings, SystemClock(), engines.database_url, engines.redis_url
            ) as built:
                await _plant(built, stripe, subscriptions)
                one = await _compare(("customer", "planted00000001"), environment, stripe)
                tell(f"reconciliation of one customer: {one.peak_mib:.0f} MiB, {one.seconds:.1f} s")
                await _report("all in step", rounds, environment, stripe, tell)
                await built.database.execute(
                    "update subscriptions set status = 'past_due' where id % $1 = 0", ONE_IN
                )
                await _report("1 % differing", rounds, environment, stripe, tell)


async def _plant(built: Core, stripe: StripeBeside, subscriptions: int) -> None:
    """Have one subscription read and written as always; the others are copies of it."""
    at = SystemClock().now()
    await stripe.tell("plant", subscriptions, await stripe.price("starter"), metadata_key=LINK)
    await built.revisions.apply(load(EXAMPLES / "bookkeeper.toml"), "bench", "bench", at)
    await built.changes.upsert_customer(CustomerInput("planted00000000"), at, "bench")
    async with stripe_of(built.settings) as door:
        async with built.database.transaction() as conn:
            await look(conn, door.name, Look.SUBSCRIPTION, ["sub_planted00000000"], at)
        worker = inbox_worker_of(built, door)
        while await worker.run_once(SystemClock().now()):
            pass
    await built.database.execute(_CUSTOMERS, subscriptions)
    await built.database.execute(_LINKS)
    await built.database.execute(_SUBSCRIPTIONS)
    await built.database.execute("analyze")


async def _report(
    what: str,
    rounds: int,
    environment: dict[str, str],
    stripe: StripeBeside,
    tell: Callable[[str], None],
) -> None:
    passes = [await _compare(("all",), environment, stripe) for _ in range(rounds)]
    last = passes[-1]
    tell(
        f"reconciliation, {what}: {last.compared:,} compared, {last.differing:,} differ, "
        f"{median(one.seconds for one in passes):.1f} s "
        f"({median(one.cpu for one in passes):.1f} s of CPU), {last.requests:,} requests, "
        f"peak {median(one.peak_mib for one in passes):.0f} MiB (passes: {rounds}, medians)"
    )


async def _compare(
    words: tuple[str, ...], environment: dict[str, str], stripe: StripeBeside
) -> Pass:
    """Run ``headroom sync`` in a process of its own, and watch its memory."""
    asked, since = await stripe.requests(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*HEADROOM, "sync", *words, "--dry-run", "--reason", "bench", "--json"),
        env={**os.environ, **environment},
        stdout=PIPE,
        stderr=DEVNULL,
    )
    talk = asyncio.create_task(process.communicate())
    peak, cpu = 0, 0.0
    while not talk.done():
        peak = max(peak, _peak_kib(process.pid))
        cpu = max(cpu, cpu_seconds([process.pid]))
        await asyncio.wait({talk}, timeout=_LOOK_EVERY)
    seconds = time.perf_counter() - since
    output, _ = talk.result()
    if process.returncode:
        raise RuntimeError(f"sync ended with {process.returncode}: {output!r}")
    counts = json.loads(output)["counts"]
    kinds = ("missing", "changed", "gone", "unknown", "unreadable")
    differing = sum(counts.get(kind, 0) for kind in kinds)
    return Pass(
        seconds, cpu, peak / 1024, await stripe.requests() - asked, counts["compared"], differing
    )


def _peak_kib(pid: int) -> int:
    """Return the most memory that a process ever had resident; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0
