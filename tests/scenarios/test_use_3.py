"""USE-3: the month turns, in any time zone, at any billing anchor, on the 29th to 31st.

Windows turn by themselves; there is no rollover job to fail. Each life is a table: when, how many
units were asked for, and what the answer is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from api.catalog.customers import CustomerInput
from api.domain import keys
from api.gates.outcome import Consumption
from api.wiring import Core
from tests.support.builders import instant
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.scene import subscribe, used

CATALOG = """
product = "edges"

[customer_types.business]
default_plan = "free"

[features.daily]
name = "Daily"
kind = "metered"

[features.monthly]
name = "Monthly"
kind = "metered"

[features.period]
name = "By the billing period"
kind = "metered"

[features.anchored]
name = "Daily from the anchor"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
daily.day = 10
monthly.month = 10
period.billing_period = 10
anchored.day = { units = 10, anchor = "billing" }

[plans.pro]
name = "Pro"
[plans.pro.prices]
pro = { amount_minor = 100, currency = "usd", interval = "month" }
pro_yearly = { amount_minor = 1000, currency = "usd", interval = "year" }
[plans.pro.features]
daily.day = 30
monthly.month = 30
period.billing_period = 30
anchored.day = { units = 30, anchor = "billing" }
"""


@dataclass(frozen=True)
class Life:
    """A customer's course; a line is ``instant | what happens``, instants in UTC.

    ``5 -> 5`` asks for 5 units and leaves 5 used; ``5 -> no`` is refused; ``-> 5`` only looks.
    ``plan pro 2026-01-31 10:00`` subscribes with that anchor; ``zone Asia/Tokyo`` moves; ``lose``
    empties the counter store, so that the record alone says what was used.
    """

    name: str
    feature: str
    lines: str
    zone: str = "UTC"


LIVES = (
    Life(
        "a month ends with its last second",
        "monthly",
        """
        2026-01-31 23:59:59 | 10 -> 10
        2026-01-31 23:59:59 | 1  -> no
        2026-02-01 00:00:00 | 1  -> 1
        2026-02-28 23:59:59 | 9  -> 10
        2026-02-28 23:59:59 | 1  -> no
        2026-03-01 00:00:00 | 10 -> 10
        """,
    ),
    Life(
        "a leap year's February has its 29th",
        "monthly",
        """
        2028-02-28 12:00:00 | 10 -> 10
        2028-02-29 23:59:59 | 1  -> no
        2028-03-01 00:00:00 | 1  -> 1
        """,
    ),
    Life(
        "an anchor on the 31st turns on the last day of every shorter month",
        "period",
        """
        2026-01-31 10:00:00 | plan pro 2026-01-31 10:00
        2026-01-31 10:00:00 | 30 -> 30
        2026-02-28 09:59:59 | 1  -> no
        2026-02-28 10:00:00 | 30 -> 30
        2026-03-28 10:00:00 | 1  -> no
        2026-03-31 09:59:59 | 1  -> no
        2026-03-31 10:00:00 | 30 -> 30
        2026-04-30 09:59:59 | 1  -> no
        2026-04-30 10:00:00 | 30 -> 30
        """,
    ),
    Life(
        "an anchor on the 30th meets a leap day",
        "period",
        """
        2028-01-30 10:00:00 | plan pro 2028-01-30 10:00
        2028-01-30 10:00:00 | 30 -> 30
        2028-02-29 09:59:59 | 1  -> no
        2028-02-29 10:00:00 | 30 -> 30
        2028-03-29 10:00:00 | 1  -> no
        2028-03-30 10:00:00 | 1  -> 1
        """,
    ),
    Life(
        "a yearly period bought on a leap day ends on the 28th",
        "period",
        """
        2028-02-29 08:00:00 | plan pro 2028-02-29 08:00 pro_yearly
        2028-02-29 08:00:00 | 30 -> 30
        2029-02-28 07:59:59 | 1  -> no
        2029-02-28 08:00:00 | 1  -> 1
        """,
    ),
    Life(
        "the day on which clocks go forward has 23 hours",
        "daily",
        """
        2026-03-28 23:00:00 | 10 -> 10
        2026-03-29 21:59:59 | 1  -> no
        2026-03-29 22:00:00 | 10 -> 10
        2026-03-30 21:59:59 | 1  -> no
        2026-03-30 22:00:00 | 1  -> 1
        """,
        zone="Europe/Berlin",
    ),
    Life(
        "the day on which clocks go back has 25 hours",
        "daily",
        """
        2026-11-01 04:00:00 | 10 -> 10
        2026-11-02 04:00:00 | 1  -> no
        2026-11-02 04:59:59 | 1  -> no
        2026-11-02 05:00:00 | 1  -> 1
        """,
        zone="America/New_York",
    ),
    Life(
        "a day that begins at one because midnight was skipped",
        "daily",
        """
        2026-09-05 12:00:00 | 10 -> 10
        2026-09-06 03:59:59 | 1  -> no
        2026-09-06 04:00:00 | 10 -> 10
        2026-09-07 02:59:59 | 1  -> no
        2026-09-07 03:00:00 | 1  -> 1
        """,
        zone="America/Santiago",
    ),
    Life(
        "a day that a zone left out has no window",
        "daily",
        """
        2011-12-29 12:00:00 | 10 -> 10
        2011-12-30 09:59:59 | 1  -> no
        2011-12-30 10:00:00 | 10 -> 10
        2011-12-31 09:59:59 | 1  -> no
        2011-12-31 10:00:00 | 1  -> 1
        """,
        zone="Pacific/Apia",
    ),
    Life(
        "a month of another zone turns when its people turn the page",
        "monthly",
        """
        2026-03-31 14:59:59 | 10 -> 10
        2026-03-31 15:00:00 | 10 -> 10
        2026-04-30 14:59:59 | 1  -> no
        2026-04-30 15:00:00 | 1  -> 1
        """,
        zone="Asia/Tokyo",
    ),
    Life(
        "a zone with a quarter of an hour",
        "daily",
        """
        2026-05-01 18:14:59 | 10 -> 10
        2026-05-01 18:15:00 | 10 -> 10
        2026-05-02 18:14:59 | 1  -> no
        """,
        zone="Asia/Kathmandu",
    ),
    Life(
        "a plan changed just before midnight keeps what was used until midnight",
        "daily",
        """
        2026-03-31 23:59:57 | 10 -> 10
        2026-03-31 23:59:58 | plan pro 2026-03-31 23:59:58
        2026-03-31 23:59:58 | -> 10
        2026-03-31 23:59:59 | 20 -> 30
        2026-03-31 23:59:59 | 1  -> no
        2026-04-01 00:00:00 | 30 -> 30
        2026-04-01 00:00:00 | 1  -> no
        """,
    ),
    Life(
        "a month's usage is kept by a plan that changes in its last second",
        "monthly",
        """
        2026-03-31 23:59:59 | 8  -> 8
        2026-03-31 23:59:59 | plan pro 2026-03-31 23:59:59
        2026-03-31 23:59:59 | 23 -> no
        2026-03-31 23:59:59 | 22 -> 30
        2026-04-01 00:00:00 | -> 0
        """,
    ),
    Life(
        "nobody gets a fresh day by moving the clock",
        "daily",
        """
        2026-03-10 14:30:00 | 10 -> 10
        2026-03-10 14:31:00 | zone Asia/Tokyo
        2026-03-10 15:00:00 | 1  -> no
        2026-03-11 00:00:00 | 1  -> no
        2026-03-11 14:59:59 | 1  -> no
        2026-03-11 15:00:00 | 10 -> 10
        2026-03-11 15:01:00 | zone Pacific/Honolulu
        2026-03-12 10:00:00 | 1  -> no
        2026-03-13 10:00:00 | 1  -> 1
        """,
    ),
    Life(
        "nor by moving the clock while the counter store forgets",
        "daily",
        """
        2026-03-10 14:30:00 | 10 -> 10
        2026-03-10 14:31:00 | zone Asia/Tokyo
        2026-03-10 15:00:00 | lose
        2026-03-10 15:00:00 | 1  -> no
        2026-03-11 14:59:59 | lose
        2026-03-11 14:59:59 | 1  -> no
        2026-03-11 15:00:00 | 10 -> 10
        """,
    ),
    Life(
        "nobody gets a fresh day by moving the anchor",
        "anchored",
        """
        2026-03-10 09:00:00 | plan pro 2026-03-10 09:00
        2026-03-10 11:00:00 | 30 -> 30
        2026-03-10 12:00:00 | plan pro 2026-03-10 12:00
        2026-03-10 12:00:00 | 1  -> no
        2026-03-11 09:00:00 | 1  -> no
        2026-03-11 12:00:00 | 1  -> 1
        """,
    ),
    Life(
        "years without a call cost nothing and leave nothing behind",
        "monthly",
        """
        2026-03-10 10:00:00 | 10 -> 10
        2031-03-10 10:00:00 | -> 0
        2031-03-10 10:00:00 | 10 -> 10
        2031-03-31 23:59:59 | 1  -> no
        """,
    ),
)

_LINE = re.compile(r"(?P<at>.+?) \| (?:(?P<units>\d+)\s*)?(?:-> (?P<answer>\w+)|(?P<act>.+))")


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
async def test_windows_turn_by_themselves(
    database_url: str, redis_url: str, clock: FakeClock, life: Life
) -> None:
    lines = [line.strip() for line in life.lines.strip().splitlines()]
    clock.set(instant(lines[0].partition(" | ")[0]))
    async with opened(database_url, redis_url, clock, CATALOG, ()) as core:
        await core.changes.upsert_customer(
            CustomerInput("acme", timezone=life.zone), clock.now(), "test"
        )
        for line in lines:
            await live(core, clock, life.feature, line)
        # In the end both stores say the same, and the record alone is enough.
        await core.drainer.drain(range(256))
        snapshot = await core.holders.snapshot("acme", clock.now())
        assert await core.drift.compare("acme", snapshot, clock.now()) == ()
        before = await used(core, life.feature, clock.now())
        await core.door.command("FLUSHALL")
        assert await used(core, life.feature, clock.now()) == before


async def live(core: Core, clock: FakeClock, feature: str, line: str) -> None:
    """Live through one line of a life."""
    read = _LINE.fullmatch(line)
    assert read is not None, line
    clock.set(instant(read["at"]))
    at = clock.now()
    match (read["act"] or "").split():
        case ["plan", plan, day, time, *price]:
            anchor = instant(f"{day} {time}")
            await subscribe(
                core, "acme", plan, at, billing_anchor=anchor, price=(price or ["pro"])[0]
            )
            return
        case ["zone", zone]:
            await core.changes.upsert_customer(CustomerInput("acme", timezone=zone), at, "test")
            return
        case ["lose"]:
            await core.drainer.drain(range(256))
            await core.door.command("FLUSHALL")
            return
    if read["units"] is None:
        assert await used(core, feature, at) == [int(read["answer"])], line
        return
    outcome = await core.gate.consume("acme", feature, int(read["units"]), None, ms(at))
    answer = str(outcome.windows[0].used) if isinstance(outcome, Consumption) else "no"
    assert answer == read["answer"], line


async def test_a_turned_window_is_left_alone_until_somebody_asks(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    """There is no job: the counter of last month stands as it was, and answers as empty."""
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        await core.gate.consume("acme", "monthly", 10, None, ms(clock.now()))
        place = keys.counters(keys.shard_of("acme"), "acme")
        before = await core.door.command("HGETALL", place)
        clock.set(instant("2026-04-02"))
        assert await used(core, "monthly", clock.now()) == [0]
        assert await core.door.command("HGETALL", place) == before
        snapshot = await core.holders.snapshot("acme", clock.now())
        assert await core.drift.compare("acme", snapshot, clock.now()) == ()
