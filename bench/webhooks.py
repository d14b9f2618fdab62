"""How fast signed events are taken in over HTTP, and how soon they can be seen as rights."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median, quantiles

from api.catalog.customers import CustomerInput
from api.catalog.file import load
from api.infra.clock import SystemClock
from api.infra.engines.embedded import EmbeddedEngines
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.wiring import Core, core
from api.wiring.payments import stripe_of
from bench.deliveries import SECRET, Delivery, Seen, Sender, deliveries
from bench.machine import HEADROOM, OTHER_CORE, free_port, server
from bench.stripe_beside import AS_OFTEN_AS_POSSIBLE, KEY, LINK, StripeBeside, stripe_beside

TAKEN_IN, ROUNDS, WARMING = 3_000, 3, 50
RATES = ((50, 4), (500, 2))
"""Events a second, and for how many seconds."""

EXAMPLES = Path(__file__).parent.parent / "examples"

Tell = Callable[[str], None]


async def run(tell: Tell) -> None:
    """Take events in, then turn them into rights: without a key, and reading each object."""
    async with stripe_beside() as stripe:
        price = await stripe.price("starter")
        for number, (road, environment) in enumerate(
            (
                ("without a key", {}),
                (
                    "reading each object",
                    {
                        "STRIPE_SECRET_KEY": KEY,
                        "STRIPE_API_BASE": stripe.address,
                        **AS_OFTEN_AS_POSSIBLE,
                    },
                ),
            )
        ):
            async with _served(environment) as (port, built, worker):
                tag = f"road{number}"
                if number == 0:
                    given = await _planted(stripe, price, "taken", TAKEN_IN * ROUNDS)
                    await _take_in(given, port, tell)
                    await built.database.execute("truncate webhook_events cascade")
                total = WARMING + sum(rate * seconds for rate, seconds in RATES) * ROUNDS
                given = await _planted(stripe, price, tag, total)
                await _customers(built, [name for name, _, _ in given])
                async with server((*HEADROOM, "worker"), worker, None, OTHER_CORE):
                    await _see(given, port, worker["REDIS_URL"], road, tell)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """Make a folder for the length of the block, through which the engines' own user may go."""
    with tempfile.TemporaryDirectory(prefix="headroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@asynccontextmanager
async def _served(more: dict[str, str]) -> AsyncGenerator[tuple[int, Core, dict[str, str]]]:
    """Serve on new engines that sync every commit; with the port comes what a worker needs."""
    with reachable_folder() as folder:
        async with EmbeddedEngines.start(folder / "data") as engines:
            await Migrator(engines.database_url).up()
            clock = SystemClock()
            urls = engines.database_url, engines.redis_url
            async with core(Settings(), clock, *urls) as built:
                catalog = load(EXAMPLES / "bookkeeper.toml")
                await built.revisions.apply(catalog, "bench", "bench", clock.now())
                environment = {
                    "DATABASE_URL": engines.database_url,
                    "REDIS_URL": engines.redis_url,
                    "HEADROOM_ENV": "production",
                    "HEADROOM_LOG_LEVEL": "WARNING",
                    "STRIPE_WEBHOOK_SECRET": SECRET,
                    **more,
                }
                port = free_port()
                serve = (*HEADROOM, "serve", "--port", str(port), "--no-worker")
                async with server(serve, environment, "Headroom ready"):
                    yield port, built, environment


async def _planted(stripe: StripeBeside, price: str, tag: str, count: int) -> list[Delivery]:
    """Hold subscriptions at Stripe, and return an event of each."""
    await stripe.tell("plant", count, price, metadata_key=LINK, tag=tag)
    template = await stripe.tell("get", f"sub_{tag}{0:08}")
    async with stripe_of(Settings()) as door:
        return deliveries(template, door.version, [f"{tag}{n:08}" for n in range(count)])


async def _customers(built: Core, keys: Sequence[str]) -> None:
    at = SystemClock().now()
    for start in range(0, len(keys), 100):
        await asyncio.gather(
            *(
                built.changes.upsert_customer(CustomerInput(key), at, "bench")
                for key in keys[start : start + 100]
            )
        )


async def _take_in(given: Sequence[Delivery], port: int, tell: Tell) -> None:
    rates, p50, p99 = [], [], []
    async with Sender.to(port) as sender:
        await sender.at_once(given[:WARMING])
        for start in range(0, len(given), TAKEN_IN):
            part = given[start : start + TAKEN_IN]
            seconds, took = await sender.at_once(part)
            rates.append(len(part) / seconds)
            p50.append(median(took))
            p99.append(_p99(took))
    tell(
        f"webhooks, intake over HTTP: {median(rates):,.0f} events/s stored; until stored median "
        f"{median(p50) * 1e3:.1f} ms, p99 {median(p99) * 1e3:.1f} ms "
        f"(64 at once, commits synced, medians of {ROUNDS} rounds of {TAKEN_IN:,})"
    )


async def _see(given: Sequence[Delivery], port: int, redis_url: str, road: str, tell: Tell) -> None:
    """Send at each rate, and tell how long after it was due an event could be seen."""
    tag = given[0][0][:5]
    async with Sender.to(port) as sender, Seen.following(redis_url, tag) as seen:
        seen.expect(name for name, _, _ in given[:WARMING])
        await sender.at_once(given[:WARMING])
        await seen.wait()
        done = WARMING
        for per_second, seconds in RATES:
            size = per_second * seconds
            p50, p99, applied = [], [], []
            for _ in range(ROUNDS):
                part = given[done : done + size]
                done += size
                seen.expect(name for name, _, _ in part)
                due = await sender.at_rate(part, per_second)
                await seen.wait()
                took = [seen.at[name] - at for name, at in due.items()]
                p50.append(median(took))
                p99.append(_p99(took))
                applied.append(size / (max(seen.at[name] for name in due) - min(due.values())))
            tell(
                f"webhooks {road}, {per_second}/s for {seconds} s: visible after median "
                f"{median(p50) * 1e3:,.0f} ms, p99 {median(p99) * 1e3:,.0f} ms, "
                f"{median(applied):,.0f} events/s made visible (medians of {ROUNDS} rounds)"
            )


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]
