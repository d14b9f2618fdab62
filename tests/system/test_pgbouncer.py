"""PgBouncer in transaction mode before the record: nothing of a session may be relied upon."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from api.domain.errors import Unavailable
from api.gates.api_keys import ApiKeys
from api.gates.outcome import Consumption
from api.infra.clock import SystemClock
from api.infra.postgres import Database, connect
from api.infra.settings import Settings
from api.wiring import Core, core
from tests.support.gate import ms, opened
from tests.support.hosts import streaming
from tests.support.pgbouncer import FOLLOWS_STATEMENTS, PgBouncer, pgbouncer_before, version
from tests.support.program import run, serving
from tests.support.waiting import eventually

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"

[features.sites]
name = "Sites"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = 1_000_000
sites = 30
"""


@pytest.fixture
async def bouncer(database_url: str) -> AsyncIterator[PgBouncer]:
    follows = version() >= FOLLOWS_STATEMENTS
    async with pgbouncer_before(database_url, pool_size=2, follows_statements=follows) as started:
        yield started


@pytest.fixture
async def pooled(bouncer: PgBouncer, database_url: str, redis_url: str) -> AsyncIterator[Core]:
    """A core of ten connections, where PgBouncer has two."""
    clock = SystemClock()
    through = _environment(bouncer, database_url, redis_url)
    async with opened(database_url, redis_url, clock, CATALOG):
        pass
    async with core(
        Settings.from_environment({**through, "HEADROOM_ENV": "development"}),
        clock,
        bouncer.url(database_url),
        redis_url,
    ) as built:
        yield built


def _environment(bouncer: PgBouncer, database_url: str, redis_url: str) -> dict[str, str]:
    follows = "true" if version() >= FOLLOWS_STATEMENTS else "false"
    return {
        "DATABASE_URL": bouncer.url(database_url),
        "DATABASE_DIRECT_URL": database_url,
        "REDIS_URL": redis_url,
        "HEADROOM_POOLED_STATEMENTS": follows,
    }


async def _consume(core: Core, feature: str, key: str) -> bool:
    """Ask until there is an answer, under one name; tell whether it was allowed."""
    async with asyncio.timeout(60):
        while True:
            try:
                outcome = await core.gate.consume("acme", feature, 1, key, ms(core.clock.now()))
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            return isinstance(outcome, Consumption)


async def _recorded(database_url: str, feature: str) -> int:
    """Return what the record itself holds of an allocation, asked past PgBouncer."""
    async with connect(database_url) as conn:
        held: int = await conn.fetchval(
            "select coalesce(sum(b.units), 0)::int from balances b"
            " join features f on f.id = b.feature_id where f.key = $1",
            feature,
        )
    return held


async def test_two_server_connections_carry_forty_callers_and_the_last_unit_is_given_once(
    pooled: Core, database_url: str
) -> None:
    allowed = await asyncio.gather(*(_consume(pooled, "sites", f"op-{n}") for n in range(60)))
    assert sum(allowed) == 30
    assert await _recorded(database_url, "sites") == 30


async def test_a_pgbouncer_that_is_killed_and_started_again_loses_and_doubles_nothing(
    pooled: Core, bouncer: PgBouncer, database_url: str
) -> None:
    asked = [asyncio.create_task(_consume(pooled, "sites", f"op-{n}")) for n in range(40)]
    for _ in range(3):
        await asyncio.sleep(0.05)  # in the middle of them, wherever that is
        await bouncer.restart()
    assert sum(await asyncio.gather(*asked)) == 30
    assert await _recorded(database_url, "sites") == 30
    # All that was opened before goes on as well, without a restart of ours.
    assert await pooled.database.fetchval("select 1") == 1


async def test_server_connections_that_are_cut_under_load_lose_and_double_nothing(
    pooled: Core, database_url: str
) -> None:
    asked = [asyncio.create_task(_consume(pooled, "sites", f"op-{n}")) for n in range(40)]
    async with connect(database_url) as conn:
        while not all(task.done() for task in asked):
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.2)  # as often as an unlucky afternoon has it
    assert sum(task.result() for task in asked) == 30
    assert await _recorded(database_url, "sites") == 30


async def test_nothing_of_ours_is_left_behind_in_a_server_session(
    pooled: Core,
) -> None:
    await asyncio.gather(*(_consume(pooled, "sites", f"op-{n}") for n in range(10)))
    await pooled.partitions.ensure([pooled.clock.now()])
    left = await pooled.database.fetchrow(
        "select (select count(*) from pg_prepared_statements where not from_sql"
        " and name not like 'PGBOUNCER%') as statements,"
        " (select count(*) from pg_listening_channels()) as channels,"
        " (select count(*) from pg_locks where locktype = 'advisory') as locks,"
        " (select count(*) from pg_class where relpersistence = 't') as temporary,"
        " current_setting('lock_timeout') as lock_timeout,"
        " current_setting('timezone') as timezone"
    )
    assert left is not None
    assert dict(left) == {
        "statements": 0,
        "channels": 0,
        "locks": 0,
        "temporary": 0,
        "lock_timeout": "0",
        "timezone": "UTC",
    }


async def test_what_is_notified_and_locked_goes_past_pgbouncer(
    pooled: Core,
) -> None:
    heard: list[str | None] = []
    async with pooled.database.listen("of_this_test", heard.append):
        await pooled.database.execute("select pg_notify('of_this_test', 'told')")

        async def arrived() -> bool:
            return "told" in heard

        await eventually(arrived)


async def test_a_whole_server_behind_pgbouncer_answers_works_and_is_renewed(
    bouncer: PgBouncer, empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    through = _environment(bouncer, empty_database_url, redis_url)
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    options = ("--workers", "2", "--catalog", str(catalog))
    running = serving(tmp_path / "data", *options, **through)
    server = await asyncio.to_thread(running.__enter__)
    try:
        made = await asyncio.to_thread(
            partial(run, "customers", "create", "acme", data_dir=None, **through)
        )
        assert made.status == 0, made.err
        async with await Database.open(empty_database_url) as database:
            key, _ = await ApiKeys(database).create(
                "test", ["consume"], datetime.now(UTC), actor="local:test", reason="a test"
            )
        async with streaming(server.address, key, "calls") as stream:
            server.process.send_signal(signal.SIGHUP)

            async def renewed() -> bool:
                return "every process was renewed" in server.errors.read_text()

            await eventually(renewed, patience_seconds=120)
            await stream.more(50)
        assert stream.failures == []
        async with httpx.AsyncClient(base_url=server.address) as client:
            ready = await client.get("/readyz")
            assert ready.status_code == 200, ready.text
            for wanted in (200, 402):
                units = {"customer": "acme", "feature": "sites", "units": 20}
                told = await client.post(
                    "/v1/consume", json=units, headers={"Authorization": f"Bearer {key}"}
                )
                assert told.status_code == wanted, told.text
        assert await _recorded(empty_database_url, "sites") == 20
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
    assert '"level": "error"' not in server.errors.read_text()
