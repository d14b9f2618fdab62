"""Many callers in several processes for one balance, one name, one hold: what fits passes."""

import asyncio
import json
import sys
from collections import Counter

import pytest

from api.domain.catalog import CreditCost
from api.infra.postgres import Database
from api.ledger.checks import balance_mismatch, ledger_sum_mismatch
from tests.support.books import Books, open_books
from tests.support.clock import FakeClock

PROCESSES = 4
CALLERS = 200


@pytest.fixture
async def books(database: Database, clock: FakeClock) -> Books:
    return await open_books(database, clock.now())


class Race:
    """Lets every process loose at once on the customer ``acme``."""

    def __init__(self, books: Books, database_url: str, clock: FakeClock) -> None:
        self._books, self._url, self._clock = books, database_url, clock

    async def run(
        self, *, cost: int = 1, callers: int = CALLERS, keys: int = 0, hold: str = "-"
    ) -> Counter[str]:
        """Return how all calls ended."""
        facts = (self._books.acme, self._books.features["chat"], cost, callers, keys)
        words = (self._url, *facts, self._clock.now().isoformat(), hold)
        started = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.ledger_racer",
                *map(str, words),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(PROCESSES)
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
        assert await balance_mismatch(self._books.database, self._clock.now()) == []
        assert await ledger_sum_mismatch(self._books.database) == []
        return total


@pytest.fixture
def race(books: Books, database_url: str, clock: FakeClock) -> Race:
    return Race(books, database_url, clock)


async def test_exactly_what_one_balance_pays_for_passes(
    books: Books, race: Race, clock: FakeClock
) -> None:
    # Grants that no call fits into by itself are used up together.
    for units in (5, 300, 8, 99):
        await books.give(units, clock.now())
    ended = await race.run(cost=3)
    assert ended == {"DONE": 137, "INSUFFICIENT": PROCESSES * CALLERS - 137}
    assert await books.left(clock.now()) == (1, 0)


async def test_one_name_is_charged_once_whichever_process_it_is_said_in(
    books: Books, race: Race, clock: FakeClock
) -> None:
    await books.give(1000, clock.now())
    ended = await race.run(cost=3, keys=10)
    assert ended == {"DONE": 10, "REPLAYED": PROCESSES * CALLERS - 10}
    assert await books.left(clock.now()) == (970, 0)


async def test_a_hold_ends_once_whoever_ends_it(books: Books, race: Race, clock: FakeClock) -> None:
    await books.give(100, clock.now())
    hold = await books.hold(10, CreditCost("chat", 4), 40, clock.now())
    ended = await race.run(callers=20, hold=hold)
    assert ended == {"DONE": 1, "RESOLVED": PROCESSES * 20 - 1}
    available, held = await books.left(clock.now())
    assert held == 0
    assert available in {60, 100}
