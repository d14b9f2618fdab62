"""Releases by consumption: once, never more than was taken, whatever came in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from api.domain.errors import IdempotencyConflict, InvalidInput, Unavailable
from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky import flaky_way
from tests.support.gate import ms, opened

CATALOG = """
product = "test"
[customer_types.business]
default_plan = "free"
[features.calls]
name = "Calls"
kind = "metered"
[features.seats]
name = "Seats"
kind = "allocation"
[plans.free]
name = "Free"
[plans.free.features]
calls.day = 100
seats = 30
"""
MONTHS_MS = 40 * 86_400_000
"""Longer than any answer is replayed."""


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        yield core


async def used(core: Core, feature: str, at: int) -> int:
    windows = (await core.gate.figures("acme", [feature], at))[feature]
    assert windows is not None
    return windows[0].used


async def answering(core: Core) -> None:
    """Return when the counter store can be reached again."""
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                await core.door.command("PING")
                return


async def taken(core: Core, feature: str, units: int, key: str | None, at: int) -> Consumption:
    outcome = await core.gate.consume("acme", feature, units, key, at)
    assert not isinstance(outcome, Denied)
    return outcome


async def test_a_release_told_after_its_answer_expired_gives_nothing_back_again(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    mine = await taken(built, "seats", 10, "k", at)
    await taken(built, "seats", 10, None, at)
    first = await built.releases.release("acme", "seats", 10, mine.id, "r1", at)

    later = await built.releases.release("acme", "seats", 10, mine.id, "r1", at + MONTHS_MS)

    assert (later.replayed, later.id) == (True, first.id)
    assert await used(built, "seats", at + MONTHS_MS) == 10


async def test_releases_of_a_consumption_with_a_long_key_do_not_share_a_name(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    mine = await taken(built, "seats", 10, "x" * 199, at)

    for key in ("r1", "r2", "y" * 199 + "1", "y" * 199 + "2"):
        assert not (await built.releases.release("acme", "seats", 1, mine.id, key, at)).replayed

    assert await used(built, "seats", at) == 6


@pytest.mark.parametrize("feature", ["seats", "calls"])
async def test_keys_that_read_the_same_when_joined_are_two_releases(
    built: Core, clock: FakeClock, feature: str
) -> None:
    at = ms(clock.now())
    one = await taken(built, feature, 3, "c", at)
    other = await taken(built, feature, 3, "b@c", at)

    await built.releases.release("acme", feature, 3, one.id, "a@b", at)
    await built.releases.release("acme", feature, 3, other.id, "a", at)

    assert await used(built, feature, at) == 0


async def test_a_release_that_was_refused_is_not_held_against_the_next(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    mine = await taken(built, "seats", 3, None, at)
    await built.gate.release("acme", "seats", 3, None, at)
    with pytest.raises(InvalidInput, match="than are in use"):
        await built.releases.release("acme", "seats", 3, mine.id, None, at)
    with pytest.raises(InvalidInput, match="than are in use"):
        await built.releases.release("acme", "seats", 3, mine.id, "r", at)
    await taken(built, "seats", 5, None, at)

    again = await built.releases.release("acme", "seats", 1, mine.id, "other", at)
    rest = await built.releases.release("acme", "seats", 2, mine.id, None, at)

    assert (again.replayed, rest.replayed) == (False, False)
    assert await used(built, "seats", at) == 2


@pytest.mark.one_server
async def test_a_release_that_the_counters_made_and_nobody_heard_of_counts(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        mine = await taken(core, "seats", 3, None, at)
        await taken(core, "seats", 3, None, at)
        way.lose_replies(3)
        with pytest.raises(Unavailable):
            await core.releases.release("acme", "seats", 3, mine.id, None, at)
        await answering(core)

        with pytest.raises(InvalidInput, match="3 were given back already"):
            await core.releases.release("acme", "seats", 3, mine.id, None, at)

        assert await used(core, "seats", at) == 3


@pytest.mark.one_server
async def test_a_release_that_never_reached_the_counters_can_be_made_without_a_key(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with (
        flaky_way(redis_url) as way,
        opened(database_url, way.url, clock, CATALOG) as core,
    ):
        mine = await taken(core, "seats", 3, None, at)
        way.cut()
        with pytest.raises(Unavailable):
            await core.releases.release("acme", "seats", 3, mine.id, None, at)
        way.down = False
        await answering(core)

        await core.releases.release("acme", "seats", 3, mine.id, None, at)

        assert await used(core, "seats", at) == 0


async def test_releases_at_once_never_give_back_more_than_was_taken(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    mine = await taken(built, "seats", 5, None, at)
    await taken(built, "seats", 20, None, at)

    outcomes = await asyncio.gather(
        *(built.releases.release("acme", "seats", 2, mine.id, f"r{n}", at) for n in range(5)),
        *(built.releases.release("acme", "seats", 2, mine.id, "r0", at) for _ in range(3)),
        return_exceptions=True,
    )

    given = [o for o in outcomes if isinstance(o, Consumption) and not o.replayed]
    assert len(given) == 2
    assert await used(built, "seats", at) == 21


async def test_the_same_key_with_other_units_is_refused_also_much_later(
    built: Core, clock: FakeClock
) -> None:
    at = ms(clock.now())
    mine = await taken(built, "seats", 10, None, at)
    await built.releases.release("acme", "seats", 2, mine.id, "r", at)

    for instant in (at, at + MONTHS_MS):
        with pytest.raises(IdempotencyConflict):
            await built.releases.release("acme", "seats", 3, mine.id, "r", instant)

    assert await used(built, "seats", at) == 8


@pytest.mark.parametrize("feature", ["seats", "calls"])
async def test_a_key_used_anew_names_another_consumption_to_give_back(
    built: Core, clock: FakeClock, feature: str
) -> None:
    at = ms(clock.now())
    one = await taken(built, feature, 3, "k", at)
    await built.releases.release("acme", feature, 3, one.id, "r", at)
    later = ms(clock.advance(days=2))
    other = await taken(built, feature, 3, "k", later)
    assert other.id != one.id
    given = await built.releases.release("acme", feature, 3, other.id, "r", later)
    assert not given.replayed
    assert await used(built, feature, later) == 0
    assert (await built.releases.release("acme", feature, 3, other.id, "r", later)).replayed
