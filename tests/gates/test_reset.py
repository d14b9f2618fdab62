"""A reset gives back what was used, and leaves no window below zero."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from api.catalog.customers import CustomerInput
from api.domain.catalog import WindowKind
from api.domain.windows import Frame, Window, next_windows
from api.gates.outcome import Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import subscribe

CATALOG = """
product = "test"
[customer_types.business]
default_plan = "free"
[features.calls]
name = "Calls"
kind = "metered"
[plans.free]
name = "Free"
[plans.free.features]
calls = { hour = 50, day = 8, month = 100 }
"""


async def admitted(core: Core, customer: str, at: datetime, most: int = 20) -> int:
    for n in range(most):
        if isinstance(await core.gate.consume(customer, "calls", 1, None, ms(at)), Denied):
            return n
    return most


async def recorded(core: Core, customer: str, windows: list[Window]) -> list[int]:
    """Return what the record holds of each window, also below zero."""
    number = await core.database.fetchval("select id from customers where key = $1", customer)
    feature = core.gate.feature_id("calls")
    return await core.usage.history(number, feature, windows)


def days(zone: str, since: datetime, count: int) -> list[Window]:
    return next_windows(Frame(WindowKind.DAY, zone), since, count)


@pytest.mark.parametrize(
    ("zone", "turns"),
    [
        ("Asia/Kolkata", datetime(2026, 3, 10, 18, 30, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 3, 10, 18, 15, tzinfo=UTC)),
        ("UTC", datetime(2026, 3, 10, tzinfo=UTC)),
    ],
)
async def test_a_reset_gives_each_day_back_its_own_where_it_turns_within_an_hour(
    database_url: str, redis_url: str, clock: FakeClock, zone: str, turns: datetime
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yesterday = turns - timedelta(days=1)
        clock.set(yesterday - timedelta(hours=1))
        await core.changes.upsert_customer(CustomerInput("far", timezone=zone), clock.now(), "t")
        for at, units in (
            (yesterday - timedelta(minutes=4), 5),
            (yesterday + timedelta(minutes=3), 1),
            (turns - timedelta(minutes=5), 6),
            (turns + timedelta(minutes=10), 2),
        ):
            assert not isinstance(
                await core.gate.consume("far", "calls", units, None, ms(at)), Denied
            )
        now = turns + timedelta(hours=1, minutes=20)

        repaired = await core.repair.usage_reset(
            "far", "calls", WindowKind.MONTH, actor="t", reason="r", at=now
        )

        assert repaired.units == 14
        assert await recorded(core, "far", days(zone, yesterday - timedelta(hours=1), 4)) == [0] * 4
        assert await admitted(core, "far", now) == 8
        await core.repair.usage_rebuild("far", actor="t", reason="r", at=now)
        assert await admitted(core, "far", now) == 0


async def test_a_reset_after_a_move_leaves_nothing_below_zero_in_the_old_days_or_the_new(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        start = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
        clock.set(start)
        await core.changes.upsert_customer(
            CustomerInput("far", timezone="Asia/Kolkata"), start, "t"
        )
        for minutes, units in ((0, 6), (35, 2), (55, 1)):
            await core.gate.consume(
                "far", "calls", units, None, ms(start + timedelta(minutes=minutes))
            )
        moved = start + timedelta(hours=1)
        await core.changes.upsert_customer(
            CustomerInput("far", timezone="Asia/Kathmandu"), moved, "t"
        )
        now = moved + timedelta(hours=2)

        await core.repair.usage_reset("far", "calls", None, actor="t", reason="r", at=now)

        for zone in ("Asia/Kolkata", "Asia/Kathmandu", "UTC"):
            windows = days(zone, start - timedelta(days=1), 3)
            assert all(after.starts_at == before.ends_at for before, after in pairwise(windows))
            assert min(await recorded(core, "far", windows)) >= 0
        assert await admitted(core, "far", now) == 8


async def test_a_reset_leaves_no_day_below_zero_that_is_laid_from_an_anchor(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    anchor = datetime(2026, 3, 5, 14, 7, 13, tzinfo=UTC)
    laid = CATALOG.replace("day = 8", 'day = { units = 8, anchor = "billing" }')
    async with opened(database_url, redis_url, clock, laid) as core:
        clock.set(anchor)
        await subscribe(core, "acme", "free", anchor, billing_anchor=anchor)
        turns = anchor + timedelta(days=2)
        for at, units in (
            (turns - timedelta(seconds=2), 7),
            (turns + timedelta(seconds=3), 3),
            (turns + timedelta(days=1, seconds=-1), 4),
            (turns + timedelta(days=1, seconds=1), 2),
        ):
            assert not isinstance(
                await core.gate.consume("acme", "calls", units, None, ms(at)), Denied
            )
        now = turns + timedelta(days=1, hours=3)

        await core.repair.usage_reset("acme", "calls", None, actor="t", reason="r", at=now)

        windows = next_windows(Frame(WindowKind.DAY, anchor=anchor), anchor, 5)
        assert await recorded(core, "acme", windows) == [0] * 5
        assert await admitted(core, "acme", now) == 8
