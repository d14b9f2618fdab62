"""Probes: alive is not ready, and what is not ready is named."""

from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from api.infra.migrations import Migrator
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.site import Site, site_on

ALL = {"postgres": "ok", "redis": "ok", "migrations": "ok", "catalog": "ok", "drain": "ok"}


@pytest.fixture
async def alone(engines_factory: EnginesFactory, clock: FakeClock) -> AsyncIterator[Site]:
    engines = await engines_factory()
    async with site_on(engines.database_url, engines.redis_url, clock) as built:
        built.clock.advance(seconds=1)
        built.engines = engines
        yield built


async def test_a_whole_site_is_ready(site: Site) -> None:
    answered = await site.client.get("/readyz")
    assert (answered.status_code, answered.json()) == (200, {"status": "ready", "parts": ALL})
    assert (await site.client.head("/readyz")).status_code == 200


async def test_a_lost_redis_is_named_and_the_process_is_alive(alone: Site) -> None:
    assert alone.engines is not None
    await alone.engines.kill_valkey()
    answered = await alone.client.get("/readyz")
    assert answered.status_code == 503
    parts = answered.json()["parts"]
    assert "counter store" in parts.pop("redis")
    assert "counter store" in parts.pop("drain")
    assert set(parts.values()) == {"ok"}
    assert (await alone.client.get("/healthz")).json() == {"status": "ok"}


async def test_a_lost_postgres_is_named(alone: Site) -> None:
    assert alone.engines is not None
    await alone.engines.kill_postgres()
    answered = await alone.client.get("/readyz")
    assert answered.status_code == 503
    parts = answered.json()["parts"]
    assert "PostgreSQL" in parts["postgres"]
    assert parts["redis"] == "ok"


async def test_migrations_that_are_missing_are_counted(site: Site, database_url: str) -> None:
    await Migrator(database_url).down()
    parts = (await site.client.get("/readyz")).json()["parts"]
    assert parts["migrations"] == "1 migrations are missing; run 'headroom migrate up'."


async def test_a_journal_that_nobody_drains_is_told(site: Site) -> None:
    door = site.core.door
    await door.command("XADD", "{7}j", "1000-0", "b", "x")
    parts = (await site.client.get("/readyz")).json()["parts"]
    assert parts["drain"].endswith("seconds to be recorded; does a worker run?")


async def test_a_part_that_never_answers_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.web.health.PATIENCE_SECONDS", 0.01)
    forever = site.core.door.blocking("BLPOP", "nothing", 60, timeout_seconds=60)

    async def never(_: datetime) -> str | None:
        return str(await forever)

    parts = (await site.rebuilt(readiness={"slow": never}).client.get("/readyz")).json()["parts"]
    assert parts == {"slow": "slow did not answer within 0.01 seconds"}


async def test_however_many_ask_the_engines_are_asked_once_a_second(site: Site) -> None:
    asked = []

    async def check(at: datetime) -> str | None:
        asked.append(at)
        return None

    probed = site.rebuilt(readiness={"part": check})
    for _ in range(5):
        assert (await probed.client.get("/readyz")).status_code == 200
    assert len(asked) == 1
    site.clock.advance(seconds=1)
    await probed.client.get("/readyz")
    assert len(asked) == 2


async def test_metrics_are_shown_in_prometheus_format(site: Site) -> None:
    await site.post("/v1/check", {"customer": "acme", "feature": "calls"})
    shown = await site.client.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'headroom_decisions_total{door="check",outcome="granted"}' in shown.text
    assert 'headroom_decision_seconds_bucket{door="check",le="0.001"}' in shown.text
    assert "acme" not in shown.text
