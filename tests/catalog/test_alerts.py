"""Alerts: once per window and subject, and seen to by one person."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api.catalog import alerts
from api.catalog.alerts import Severity, alert, window_of
from api.domain.errors import InvalidInput, NotFound
from api.infra.postgres import Database
from tests.support.clock import FakeClock


def test_windows_touch_and_begin_at_multiples_of_their_length() -> None:
    at = datetime(2027, 3, 1, 10, 44, 59, 5, UTC)
    begins = window_of(at, timedelta(minutes=15))
    assert begins == datetime(2027, 3, 1, 10, 30, tzinfo=UTC)
    assert window_of(begins, timedelta(minutes=15)) == begins
    assert window_of(begins - timedelta(microseconds=1), timedelta(minutes=15)) < begins


async def test_an_alert_is_raised_once_for_each_window_and_subject(
    database: Database, clock: FakeClock
) -> None:
    at = clock.now()

    async def raised(subject: str, hours: int) -> bool:
        period = window_of(at + timedelta(hours=hours), timedelta(hours=1))
        return await alert(database, "test_kind", "look", at=at, period=period, subject=subject)

    together = await asyncio.gather(*(raised("a", 0) for _ in range(8)))
    assert sorted(together) == [False] * 7 + [True]
    assert await raised("b", 0)
    assert await raised("a", 1)
    assert not await raised("a", 1)
    assert len(await alerts.list_(database, kind="test_kind")) == 3


async def test_an_alert_of_a_transaction_that_is_rolled_back_is_gone(
    database: Database, clock: FakeClock
) -> None:
    at = clock.now()

    async def raises_and_fails() -> None:
        async with database.transaction() as conn:
            assert await alert(conn, "test_kind", "look", at=at, period=at)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await raises_and_fails()
    assert await alerts.list_(database) == []


async def test_the_first_who_acknowledges_an_alert_stays_named_and_is_audited_once(
    database: Database, clock: FakeClock
) -> None:
    at = clock.now()
    await alert(database, "k", "look", at=at, period=at, severity=Severity.CRITICAL)
    [one] = await alerts.list_(database, open_only=True)
    with pytest.raises(InvalidInput):
        await alerts.acknowledge(database, one.id, actor="ann", reason=" ", at=at)
    for actor in ("ann", "bob"):
        seen = await alerts.acknowledge(database, one.id, actor=actor, reason="seen", at=at)
        assert (seen.acknowledged_by, seen.note) == ("ann", "seen")
    assert await alerts.list_(database, open_only=True) == []
    assert [a.id for a in await alerts.list_(database)] == [one.id]
    acts = await database.fetch("select actor from audit_log where action = 'alerts.acknowledge'")
    assert [act["actor"] for act in acts] == ["ann"]
    with pytest.raises(NotFound):
        await alerts.acknowledge(database, one.id + 1, actor="ann", reason="seen", at=at)
