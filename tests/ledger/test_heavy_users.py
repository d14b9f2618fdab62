"""Who spends most, of what, and how much of the whole."""

from datetime import timedelta

import pytest

from api.domain.errors import InvalidInput
from api.ledger.entries import Kind, Movement, post
from api.ledger.heavy_users import FeatureSpend, heavy_users
from tests.support.books import WHY, Books
from tests.support.clock import FakeClock


async def test_the_heaviest_come_first_with_their_share_and_their_features(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    small = await books.give(20, at, priority=1)
    await books.give(100, at)
    await books.give(100, at, customer="globex")
    # Two grants pay, and its units count once; one of them is given back.
    await books.spend(30, at, units=3)
    await books.spend(5, at, units=5, feature="search")
    await books.spend(15, at, units=1, customer="globex")
    async with books.database.transaction() as conn:
        await post(
            conn,
            [Movement(books.acme, Kind.RETURN, small, 5, at, WHY, books.features["chat"], 1)],
        )
    until = clock.advance(hours=1)
    await books.spend(50, until, customer="globex")

    first, second = await heavy_users(books.database, at, until)
    assert (first.customer, first.credits, first.share) == ("acme", 30, 30 / 45)
    assert first.features == (FeatureSpend("chat", 2, 25), FeatureSpend("search", 5, 5))
    assert (second.customer, second.credits, second.share) == ("globex", 15, 15 / 45)
    assert [u.customer for u in await heavy_users(books.database, at, until, 1)] == ["acme"]
    later = until + timedelta(hours=1)
    assert (await heavy_users(books.database, at, later))[0].customer == "globex"
    assert await heavy_users(books.database, later, later + timedelta(1)) == []


async def test_a_report_of_nothing_is_refused(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    with pytest.raises(InvalidInput, match="before"):
        await heavy_users(books.database, at, at)
    with pytest.raises(InvalidInput, match="first"):
        await heavy_users(books.database, at, at + timedelta(1), 0)
