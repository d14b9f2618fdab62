"""What every test may ask for by name; all of it real, none of it shared between tests.

============================ ==================================================================
``engines``                  this process's own PostgreSQL and Valkey, thrown away at its end
``database_url``             the DSN of a fresh, migrated database, this test's own
``database``                 an open ``Database`` on it
``redis_url``                the URL of the Valkey, emptied before this test; with ``--cluster``,
                             or ``HEADROOM_TEST_CLUSTER=1``, that of the cluster
``cluster``                  three primaries with a replica each, emptied and whole again
``clock``                    a ``FakeClock`` at 10:00 UTC on Tuesday, 10 March 2026
``engines_factory``          starts more engines, for tests that kill, stop or rewind them:
                             ``engines = await engines_factory(append_only=True)``; migrated,
                             and gone with the test
``empty_database_url``       the DSN of a fresh database without any table
============================ ==================================================================

Every process of ``pytest -n`` runs engines of its own, so tests need not know of each other.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from redis import Redis

from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.migrations import Migrator
from api.infra.postgres import Database, connect
from tests.support.clock import FakeClock
from tests.support.cluster import ThrowawayCluster
from tests.support.pgbouncer import every_pool_through, pgbouncer_before
from tests.support.roads_taken import summary

EnginesFactory: TypeAlias = Callable[..., Awaitable[ThrowawayEngines]]

_TEMPLATE = "migrated"
_numbers = count(1)

# How long an example takes says what else the machine did, not whether the code is right.
settings.register_profile("headroom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headroom")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was compared by how many generated cases: a proof shows its size."""
    told = summary(terminalreporter.getreports("passed"))
    if told is not None:
        terminalreporter.write_line(told)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pgbouncer",
        action="store_true",
        help="lead every pool through a PgBouncer in transaction mode; needs the program",
    )
    parser.addoption(
        "--cluster",
        action="store_true",
        default=os.environ.get("HEADROOM_TEST_CLUSTER") == "1",
        help="run on a Valkey Cluster whatever asks for redis_url",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "one_server: about what only one server does, so not run with --cluster"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--cluster"):
        for item in items:
            # A way that can be cut is one to one server, too.
            ways = "way" in getattr(item, "fixturenames", ())
            if ways or item.get_closest_marker("one_server") is not None:
                item.add_marker(pytest.mark.skip(reason="about one server"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(request: pytest.FixtureRequest) -> AsyncGenerator[ThrowawayEngines]:
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(ThrowawayEngines.start())
        if request.config.getoption("--pgbouncer"):
            bouncer = await stack.enter_async_context(pgbouncer_before(started.database_url))
            stack.enter_context(every_pool_through(bouncer))
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(engines: ThrowawayEngines) -> str:
    """Migrate one database, once; copying it takes a fraction of migrating another."""
    async with connect(engines.database_url) as admin:
        await admin.execute(f"create database {_TEMPLATE}")
    await Migrator(_beside(engines.database_url, _TEMPLATE)).up()
    return _TEMPLATE


@pytest.fixture
async def database_url(engines: ThrowawayEngines, migrated_template: str) -> AsyncIterator[str]:
    async with _fresh_database(engines, migrated_template) as url:
        yield url


@pytest.fixture
async def empty_database_url(engines: ThrowawayEngines) -> AsyncIterator[str]:
    async with _fresh_database(engines, "template1") as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(database_url) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes() -> AsyncGenerator[ThrowawayCluster]:
    async with ThrowawayCluster.start() as started:
        yield started


@pytest.fixture
async def cluster(nodes: ThrowawayCluster) -> ThrowawayCluster:
    await nodes.mend()
    return nodes


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    if request.config.getoption("--cluster"):
        cluster: ThrowawayCluster = request.getfixturevalue("cluster")
        return cluster.url
    engines: ThrowawayEngines = request.getfixturevalue("engines")
    with Redis.from_url(engines.redis_url) as redis:
        redis.flushall()
        redis.script_flush()
    return engines.redis_url


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 3, 10, 10, tzinfo=UTC))


@pytest.fixture
async def engines_factory() -> AsyncIterator[EnginesFactory]:
    async with AsyncExitStack() as stack:

        async def start(*, append_only: bool = False) -> ThrowawayEngines:
            started = await stack.enter_async_context(
                ThrowawayEngines.start(append_only=append_only)
            )
            await Migrator(started.database_url).up()
            return started

        yield start


@asynccontextmanager
async def _fresh_database(engines: ThrowawayEngines, template: str) -> AsyncGenerator[str]:
    name = f"test_{next(_numbers)}"
    async with connect(engines.database_url) as admin:
        await admin.execute(f"create database {name} template {template}")
    yield _beside(engines.database_url, name)
    async with connect(engines.database_url) as admin:
        await admin.execute(f"drop database {name} with (force)")


def _beside(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))
