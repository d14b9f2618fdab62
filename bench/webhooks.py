"""How many signed events a second are taken in, and how many are turned into rights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

from api.billing.inbox import Accepted
from api.catalog.customers import CustomerInput
from api.catalog.file import load
from api.cli.demo_events import StripeLife, signed
from api.infra.clock import SystemClock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.wiring import core
from api.wiring.payments import inbox_of, inbox_worker_of, stripe_of

CUSTOMERS, AT_ONCE, SECRET = 1_000, 64, "whsec_bench"
"""Three events for each customer; how many deliveries are under way at once; what signs them."""

EXAMPLES = Path(__file__).parent.parent / "examples"


async def run(tell: Callable[[str], None]) -> None:
    """Deliver signed events of many customers, then apply them; print both rates."""
    async with ThrowawayEngines.start() as engines:
        await Migrator(engines.database_url).up()
        settings = Settings(stripe_webhook_secrets=(SECRET,))
        clock = SystemClock()
        async with core(settings, clock, engines.database_url, engines.redis_url) as built:
            at = clock.now()
            catalog = load(EXAMPLES / "bookkeeper.toml")
            await built.revisions.apply(catalog, "bench", "bench", at)
            for n in range(CUSTOMERS):
                await built.changes.upsert_customer(CustomerInput(f"c{n}"), at, "bench")
            stripe = stripe_of(settings)
            try:
                inbox, worker = inbox_of(built, stripe), inbox_worker_of(built, stripe)
                lives = (StripeLife(f"c{n}", stripe.version, at) for n in range(CUSTOMERS))
                events = list(chain.from_iterable(x.checks_out("starter", 4900) for x in lives))
                deliveries = [signed(event, SECRET, clock.now()) for event in events]
                times: list[float] = []
                gate = asyncio.Semaphore(AT_ONCE)

                async def deliver(body: bytes, signature: str) -> None:
                    async with gate:
                        since = time.perf_counter()
                        outcome = await inbox.accept(body, signature, "::1", None, clock.now())
                        times.append((time.perf_counter() - since) * 1e3)
                    assert isinstance(outcome, Accepted), outcome

                since = time.perf_counter()
                await asyncio.gather(*(deliver(*one) for one in deliveries))
                taken = len(deliveries) / (time.perf_counter() - since)
                since, handled = time.perf_counter(), 0
                while passed := await worker.run_once(clock.now()):
                    handled += passed
                applied = handled / (time.perf_counter() - since)
            finally:
                await stripe.close()
        tell(
            f"webhooks: {taken:,.0f} events/s verified and stored "
            f"(median {median(times):.1f} ms, p99 {quantiles(times, n=100)[98]:.1f} ms, "
            f"{AT_ONCE} at once, no HTTP); {applied:,.0f} events/s applied and published"
        )
