"""What is forgotten of reconciliation, operations and alerts, and what never is."""

from datetime import datetime, timedelta

import pytest

from api.billing.findings import ITSELF, Finding, QueueKind, enqueue
from api.catalog import alerts
from api.infra.postgres import Database
from api.infra.settings import Settings
from api.metering.partitions import Partitions
from api.worker import retention
from api.worker.retention import Retention
from tests.support.clock import FakeClock

SETTINGS = Settings(
    keep_audit_days=100, keep_provider_operations_days=40, keep_reconciliation_days=60
)


@pytest.fixture
def keeper(database: Database) -> Retention:
    return Retention(database, Partitions(database), SETTINGS)


async def remaining(database: Database, table: str, column: str) -> list[str]:
    rows = await database.fetch(f"select {column} as one from {table} order by id")  # noqa: S608 - the tests' own names
    return [row["one"] for row in rows]


async def finding(
    database: Database, name: str, at: datetime, state: str, by: str = ITSELF
) -> None:
    async with database.transaction() as conn:
        await enqueue(conn, "stripe", Finding(QueueKind.DOUBLE_INVOICE, name, None), at)
    await database.execute(
        "update reconciliation_queue set state = $2, resolved_at = $3, resolved_by = $4"
        " where object_id = $1",
        name,
        state,
        at if state == "resolved" else None,
        by if state == "resolved" else None,
    )


async def operation(database: Database, name: str, at: datetime, state: str) -> None:
    await database.execute(
        "insert into provider_operations (operation_id, provider, action, request, key_scope,"
        " fingerprint, state, next_attempt_at, actor, reason, created_at, answered_at, ended_at)"
        " values ($1, 'stripe', 'cancel', $2, 'acme', '', $3, $4, 'a', 'r', $4, $5, $6)",
        name,
        {},
        state,
        at,
        at if state in ("answered", "confirmed") else None,
        at if state in ("confirmed", "refused") else None,
    )


async def test_findings_are_forgotten_when_resolved_and_never_before(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for state in ("open", "acting", "resolved", "given_up"):
        await finding(database, state, clock.now(), state)
    kept = await keeper.forget(clock.now() + timedelta(days=60))
    assert kept["findings"] == 0
    late = await keeper.forget(clock.now() + timedelta(days=3000))
    assert late["findings"] == 1
    held = await remaining(database, "reconciliation_queue", "object_id")
    assert held == ["open", "acting", "given_up"]


async def test_what_a_person_resolved_is_kept_until_its_object_is_over(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for name in ("sub_over", "sub_lives", "in_void", "in_paid", "sub_nobody_s"):
        await finding(database, name, clock.now(), "resolved", "local:op")
    owner = await database.fetchval(
        "with r as (insert into catalog_revisions (body, checksum, applied_at, applied_by)"
        " values ('{}', '', $1, 'a') returning revision)"
        " insert into customers (key, type, created_at, updated_at, catalog_revision)"
        " select 'acme', 'business', $1, $1, revision from r returning id",
        clock.now(),
    )
    for name, status in (("sub_over", "canceled"), ("sub_lives", "unpaid")):
        await database.execute(
            "insert into subscriptions (customer_id, provider, provider_id, status, add_ons,"
            " created_at, updated_at) values ($1, 'stripe', $2, $3, '[]', $4, $4)",
            owner,
            name,
            status,
            clock.now(),
        )
    for name, status in (("in_void", "void"), ("in_paid", "paid")):
        await database.execute(
            "insert into invoices (provider, provider_id, status, currency, total_minor,"
            " due_minor, paid_minor, remaining_minor, created_at, told_at, told_by, updated_at)"
            " values ('stripe', $1, $2, 'usd', 1, 1, 0, 1, $3, $3, '', $3)",
            name,
            status,
            clock.now(),
        )
    late = await keeper.forget(clock.now() + timedelta(days=3000))
    assert late["findings"] == 2
    held = await remaining(database, "reconciliation_queue", "object_id")
    assert held == ["sub_lives", "in_paid", "sub_nobody_s"]


async def test_runs_are_forgotten_with_or_without_an_end(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for days, ended in ((0, True), (0, False), (2, True)):
        at = clock.now() + timedelta(days=days)
        await database.execute(
            "insert into reconciliation_runs"
            " (provider, scope, execute, started_at, finished_at, actor, reason)"
            " values ('stripe', 'all', true, $1, $2, 'a', $3)",
            at,
            at if ended else None,
            f"day {days}",
        )
    assert (await keeper.forget(clock.now() + timedelta(days=60)))["reconciliation runs"] == 0
    assert (await keeper.forget(clock.now() + timedelta(days=61)))["reconciliation runs"] == 2
    assert await remaining(database, "reconciliation_runs", "reason") == ["day 2"]


async def test_operations_are_forgotten_when_over_and_never_while_the_outcome_is_open(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for state in ("pending", "answered", "confirmed", "refused"):
        await operation(database, state, clock.now(), state)
    assert (await keeper.forget(clock.now() + timedelta(days=40)))["provider operations"] == 0
    late = await keeper.forget(clock.now() + timedelta(days=3000))
    assert late["provider operations"] == 2
    held = await remaining(database, "provider_operations", "operation_id")
    assert held == ["pending", "answered"]


async def test_alerts_are_forgotten_once_seen_to_and_never_before(
    database: Database, clock: FakeClock, keeper: Retention
) -> None:
    for kind in ("seen", "late", "unseen"):
        await alerts.alert(database, kind, "Look.", at=clock.now(), period=clock.now())
    seen, late, _ = sorted(one.id for one in await alerts.list_(database))
    ways = {"actor": "local:op", "reason": "seen to"}
    await alerts.acknowledge(database, seen, at=clock.now(), **ways)
    await alerts.acknowledge(database, late, at=clock.now() + timedelta(days=90), **ways)
    assert (await keeper.forget(clock.now() + timedelta(days=100)))["alerts"] == 0
    assert (await keeper.forget(clock.now() + timedelta(days=101)))["alerts"] == 1
    assert await remaining(database, "alerts", "kind") == ["late", "unseen"]
    assert (await keeper.forget(clock.now() + timedelta(days=3000)))["alerts"] == 1
    assert await remaining(database, "alerts", "kind") == ["unseen"]


async def test_more_than_a_batch_is_forgotten_batch_by_batch(
    database: Database, clock: FakeClock, keeper: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(5):
        await finding(database, f"in_{number}", clock.now(), "resolved")
        await operation(database, f"op_{number}", clock.now(), "refused")
    late = await keeper.forget(clock.now() + timedelta(days=61))
    assert (late["findings"], late["provider operations"]) == (5, 5)
