"""A voided grant stays so, whatever comes back to it."""

import asyncio

from api.domain.catalog import CreditCost
from api.ledger.grants import restore
from api.ledger.holds import Resolution
from api.ledger.voiding import void, voided_turn
from tests.support.books import WHY, Books
from tests.support.clock import FakeClock


async def test_what_comes_back_to_a_voided_grant_is_taken_by_entries(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    voided = await books.give(20, at)
    hold = await books.hold(4, CreditCost("chat", 2), 8, at)
    async with books.database.transaction() as conn:
        assert await void(conn, books.acme, voided, WHY, at) == 12
    await books.resolve(hold, Resolution.VOID, at)
    assert await books.left(at) == (8, 0)
    await asyncio.gather(*(voided_turn(books.database, at, 0) for _ in range(3)))
    assert await books.left(at) == (0, 0)
    rows = await books.database.fetch(
        "select amount from credit_entries where kind = 'revoke' order by id"
    )
    assert [row["amount"] for row in rows] == [12, 8]


async def test_other_grants_and_those_partly_taken_are_left_alone(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    voided, other = await books.give(20, at), await books.give(5, at)
    async with books.database.transaction() as conn:
        await void(conn, books.acme, voided, WHY, at)
        await restore(conn, books.acme, voided, 20, WHY, at)
    await voided_turn(books.database, at, 0)
    assert await books.left(at) == (5, 0)
    grants = await books.database.fetch("select id, available from credit_grants order by id")
    assert [(g["id"], g["available"]) for g in grants] == [(voided, 0), (other, 5)]
