"""Many callers in several processes for one balance, one quota, one hold: exactly what fits."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from api.domain.funding import Funding
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.ledger.holds import HoldState
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened
from tests.support.spending import ACTOR, Books, agree, books, drain, grant, standing, work

CATALOG = """
product = "race"

[customer_types.business]
default_plan = "free"

[features.chat]
name = "Chats"
kind = "metered"

[features.claim]
name = "Claims"
kind = "metered"

[costs.chat]
credits = 2

[costs.claim]
credits = 5

[plans.free]
name = "Free"
[plans.free.features]
chat.month = { units = 60, overage = "credits" }
chat.year = 300
claim = "unlimited"
"""
PROCESSES = 4
CALLERS = 100


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


@pytest.fixture
def to(database_url: str, redis_url: str) -> tuple[str, str]:
    """Return where the engines of the race are."""
    return database_url, redis_url


async def racing(*arguments: object, processes: int = PROCESSES) -> Counter[str]:
    """Let every process loose at once; return how all calls ended."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.credit_racer",
            *map(str, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    total: Counter[str] = Counter()
    try:
        for process in started:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(p.communicate(b"go\n") for p in started))
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for output, _ in outputs:
        total.update(json.loads(output))
    return total


async def recorded(core: Core, customer: str, feature: str = "chat") -> Books:
    """Read the record once it has all: also what was counted and undone, by whichever process."""
    await drain(core)
    return await books(core, customer, feature)


async def test_four_hundred_callers_spend_exactly_the_credits_there_are(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    # Out of three grants, one of them for less than a call costs.
    for units, priority in ((3, 10), (100, 20), (84, 30)):
        await grant(built, "acme", units, clock.now(), priority=priority)
    ended = await racing(*to, "acme", "claim", 1, CALLERS, 0, ms(clock.now()), "consume")
    assert ended == {"allowed": 37, "denied": PROCESSES * CALLERS - 37}
    assert await recorded(built, "acme", "claim") == Books(37, 37, 2, 0, 185, 37)
    await agree(built, "acme", clock.now())


async def test_what_is_included_and_what_credits_buy_pass_exactly(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    await grant(built, "acme", 121, clock.now())
    at = ms(clock.now())
    ended = await racing(*to, "acme", "chat", 1, CALLERS, 0, at, "consume")
    # 60 are included, and 121 credits pay for 60 more. Who is refused while another's units are
    # pending is told so by the record, which has the last word on credits only.
    assert ended == {"allowed": 120, "denied": PROCESSES * CALLERS - 120}
    assert await standing(built, "acme", clock.now()) == [(60, 0), (120, 0)]
    assert await recorded(built, "acme") == Books(120, 60, 1, 0, 120, 60)
    await agree(built, "acme", clock.now())
    assert isinstance(await built.gate.consume("acme", "chat", 1, None, at), Denied)


async def test_a_cap_is_reached_and_never_passed_whatever_credits_there_are(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    await grant(built, "acme", 10_000, clock.now())
    ended = await racing(*to, "acme", "chat", 7, CALLERS, 0, ms(clock.now()), "consume")
    assert ended == {"allowed": 42, "denied": PROCESSES * CALLERS - 42}
    assert await standing(built, "acme", clock.now()) == [(60, 0), (294, 0)]
    after = await recorded(built, "acme")
    assert (after.units, after.charged, after.spent) == (294, 234, 468)
    await agree(built, "acme", clock.now())


async def test_refused_calls_leave_all_of_it_to_whoever_asks_for_less(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    await grant(built, "acme", 20, clock.now())
    at = ms(clock.now())
    ended = await racing(*to, "acme", "chat", 71, CALLERS, 0, at, "consume")
    assert ended == {"denied": PROCESSES * CALLERS}
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 0)]
    taken = await built.gate.consume("acme", "chat", 70, None, at)
    assert isinstance(taken, Consumption)
    assert taken.funding == Funding(60, 10, 20, (("permanent", 20),))
    await agree(built, "acme", clock.now())


@pytest.mark.parametrize(("feature", "what"), [("claim", "consume"), ("chat", "hold")])
async def test_retries_in_parallel_from_several_processes_charge_once_per_key(
    built: Core, to: tuple[str, str], clock: FakeClock, feature: str, what: str
) -> None:
    await grant(built, "acme", 1_000, clock.now())
    ended = await racing(*to, "acme", feature, 9, CALLERS, 10, ms(clock.now()), what)
    assert ended["allowed"] + ended["replayed"] == PROCESSES * CALLERS, ended
    after = await recorded(built, "acme", feature)
    assert (after.units, after.operations) == (90, 10)
    assert after.spent + after.held == (450 if feature == "claim" else 60)
    await agree(built, "acme", clock.now())


async def test_holds_share_what_a_limit_and_a_balance_allow(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    await grant(built, "acme", 50, clock.now())
    ended = await racing(*to, "acme", "chat", 5, CALLERS, 0, ms(clock.now()), "hold")
    assert ended == {"allowed": 17, "denied": PROCESSES * CALLERS - 17}
    assert await standing(built, "acme", clock.now()) == [(0, 60), (0, 85)]
    assert await recorded(built, "acme") == Books(85, 25, 0, 50, 0, 17)
    await agree(built, "acme", clock.now())
    clock.advance(seconds=601)
    await work(built, clock.now())
    assert await standing(built, "acme", clock.now()) == [(0, 0), (0, 0)]
    assert (await recorded(built, "acme")).available == 50
    await agree(built, "acme", clock.now())


async def test_of_all_who_end_one_hold_one_wins(
    built: Core, to: tuple[str, str], clock: FakeClock
) -> None:
    await grant(built, "acme", 50, clock.now())
    for _ in range(3):
        before = await recorded(built, "acme")
        at = ms(clock.now())
        hold = await built.holding.place("acme", "chat", 70, None, at, seconds=600, actor=ACTOR)
        assert isinstance(hold, Hold)
        ended = await racing(*to, "acme", "chat", 1, 30, 0, at, hold.id, processes=2)
        won = ended["captured"] + ended["voided"]
        assert won <= 1
        assert ended["closed"] == 40 - won, ended
        record = await built.holding.find("acme", hold.id)
        assert record is not None
        captured = ended["captured"] == 1
        assert (record.record.state is HoldState.CAPTURED) is captured
        after = await recorded(built, "acme")
        assert after.held == 0
        assert after.spent - before.spent == (20 if captured else 0)
        assert after.units - before.units == (70 if captured else 0)
        await agree(built, "acme", clock.now())
        if captured:
            break
        clock.advance(seconds=601)
