"""Credits end by an entry; a balance knows before the entry says so."""

import asyncio
from datetime import timedelta

from api.domain.catalog import CreditCost
from api.ledger.expiry import BATCH, expire, expiry_turn
from api.ledger.history import entries
from api.ledger.holds import Resolution
from tests.support.books import Books
from tests.support.clock import FakeClock


async def expired(books: Books) -> list[tuple[int, str, int]]:
    rows = await entries(books.database, books.acme, first=200)
    return [(e.grant_id, e.operation_id, e.amount) for e in reversed(rows) if e.kind == "expire"]


async def test_what_is_left_of_a_grant_past_its_time_is_entered_as_expired_once(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    ending = await books.give(30, at, expires_at=at + timedelta(days=1))
    await books.give(50, at)
    await books.spend(10, at)
    assert await expire(books.database, at) == 0
    at = clock.advance(days=1)
    assert await books.left(at) == (50, 0)
    assert await expire(books.database, at) == 1
    assert await expire(books.database, at) == 0
    assert await expired(books) == [(ending, f"~expire:{ending}:1", 20)]
    assert await books.left(at) == (50, 0)


async def test_what_a_hold_gives_back_to_an_expired_grant_expires_by_another_entry(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    ending = await books.give(30, at, expires_at=at + timedelta(minutes=30))
    hold = await books.hold(10, CreditCost("chat", 1), 10, at)
    at = clock.advance(minutes=40)
    position = await expiry_turn(books.database, at, 0)
    assert await books.left(at) == (0, 10)
    await books.resolve(hold, Resolution.VOID, at)
    assert await books.left(at) == (0, 0)
    await expiry_turn(books.database, at, position)
    assert await expired(books) == [
        (ending, f"~expire:{ending}:1", 20),
        (ending, f"~expire:{ending}:2", 10),
    ]


async def test_what_comes_back_long_after_is_found_by_the_next_full_look(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    ending = await books.give(30, at, expires_at=at + timedelta(days=1))
    at = clock.advance(days=3)
    position = await expiry_turn(books.database, at, 0)
    await books.database.execute("update credit_grants set available = 5 where id = $1", ending)
    assert await expiry_turn(books.database, at, position) == position
    assert len(await expired(books)) == 1
    assert await expiry_turn(books.database, clock.advance(hours=1), position) == position + 1
    assert len(await expired(books)) == 2


async def test_several_workers_expire_many_grants_once_each(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    grants = BATCH + 20
    for _ in range(grants):
        await books.give(1, at, expires_at=at + timedelta(days=1))
    at = clock.advance(days=2)
    await asyncio.gather(*(expiry_turn(books.database, at, 0) for _ in range(4)))
    kinds = await books.database.fetch(
        "select grant_id, count(*) as n from credit_entries where kind = 'expire' group by 1"
    )
    assert (len(kinds), {row["n"] for row in kinds}) == (grants, {1})
