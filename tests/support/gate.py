"""A whole core on real engines, with a catalog and customers, for tests of decisions."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from api.catalog.customers import CustomerInput
from api.catalog.file import parse
from api.infra.clock import Clock
from api.infra.settings import Settings
from api.wiring import Core, core


def ms(at: datetime) -> int:
    """Return the instant in milliseconds since 1970."""
    return int(at.timestamp() * 1000)


@asynccontextmanager
async def opened(
    database_url: str,
    redis_url: str,
    clock: Clock,
    catalog: str,
    customers: tuple[str, ...] = ("acme",),
    **environment: str,
) -> AsyncGenerator[Core]:
    """Open a core with this catalog applied and these customers made."""
    settings = Settings.from_environment({"HEADROOM_ENV": "development", **environment})
    async with core(settings, clock, database_url, redis_url) as built:
        at = clock.now()
        await built.revisions.apply(parse(catalog, "test.toml"), "test", "test", at)
        for key in customers:
            await built.changes.upsert_customer(CustomerInput(key), at, "test")
        yield built
