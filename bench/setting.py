"""The customers and the catalog that every measurement uses."""

from __future__ import annotations

import asyncio
from datetime import datetime

from api.catalog.customers import CustomerInput
from api.catalog.file import parse
from api.domain.catalog import Bucket
from api.gates.api_keys import ApiKeys
from api.infra.clock import SystemClock
from api.infra.migrations import Migrator
from api.infra.postgres import Database
from api.infra.settings import Settings
from api.ledger.entries import Why
from api.ledger.grants import NewGrant, give
from api.wiring import core

CUSTOMERS = 1_000
FEATURE = "calls"
SCARCE = "few"
FEATURES = 10
CATALOG = """
product = "bench"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[plans.free]
name = "Free"

[plans.free.features]
calls = { day = 1_000_000_000, month = 1_000_000_000 }
"""


def shop(features: int = FEATURES) -> str:
    """Return a catalog of so many metered features, ``calls`` and ``few`` among them.

    Of ``few`` one unit passes, a day and a month; a plan beside the free one brings more.
    """
    names = [FEATURE, SCARCE, *(f"feature_{n}" for n in range(features - 2))]
    text = 'product = "bench"\n\n[customer_types.business]\ndefault_plan = "free"\n'
    for name in names:
        text += f'\n[features.{name}]\nname = "{name.title()}"\nkind = "metered"\n'
    for rank, plan in enumerate(("free", "pro")):
        text += f'\n[plans.{plan}]\nname = "{plan.title()}"\n\n[plans.{plan}.features]\n'
        for name in names:
            units = 1 + 999 * rank if name == SCARCE else 1_000_000_000
            text += f"{name} = {{ day = {units}, month = {units} }}\n"
    return text


async def prepare(
    database_url: str,
    redis_url: str,
    customers: int = CUSTOMERS,
    catalog: str = CATALOG,
    feature: str = FEATURE,
    credits_each: int = 0,
) -> str:
    """Migrate, apply the catalog, make the customers; return an API key."""
    await Migrator(database_url).up()
    clock = SystemClock()
    async with core(Settings(), clock, database_url, redis_url) as built:
        at = clock.now()
        await built.revisions.apply(parse(catalog, "bench.toml"), "bench", "bench", at)
        for start in range(0, customers, 100):
            await asyncio.gather(
                *(
                    built.changes.upsert_customer(CustomerInput(f"c{n}"), at, "bench")
                    for n in range(start, min(start + 100, customers))
                )
            )
        if credits_each:
            await _give(built.database, credits_each, at)
        for start in range(0, customers, 100):
            # So that what is measured is not the first filling of the counters.
            at_ms = int(clock.now().timestamp() * 1000)
            await asyncio.gather(
                *(
                    built.gate.check(f"c{n}", feature, 1, at_ms)
                    for n in range(start, min(start + 100, customers))
                )
            )
        plain, _ = await ApiKeys(built.database).create(
            "bench", ["consume"], at, actor="bench", reason="bench"
        )
        return plain


async def _give(database: Database, credits_each: int, at: datetime) -> None:
    """Give every customer the same credits, which do not expire."""
    ids = await database.fetch("select id from customers")
    why = Why("bench", "bench", "bench")
    async with database.transaction() as conn:
        await give(
            conn,
            [
                NewGrant(row["id"], "bench", Bucket.PERMANENT, 50, credits_each, at, why)
                for row in ids
            ],
            at,
        )
