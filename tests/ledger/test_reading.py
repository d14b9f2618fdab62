"""Balances, grants and pages of entries."""

from datetime import timedelta

import pytest

from api.domain.catalog import Bucket, CreditCost
from api.gates.outcome import ConsumptionId
from api.ledger import standing
from api.ledger.entries import Kind
from api.ledger.history import Entry, Filter, entries
from api.ledger.holds import Resolution
from api.ledger.returns import Kept, give_back
from tests.support.books import WHY, Books
from tests.support.clock import FakeClock


async def test_a_balance_is_by_bucket_and_counts_what_may_be_used_now(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at, bucket=Bucket.SUBSCRIPTION, expires_at=at + timedelta(days=30))
    await books.give(40, at, bucket=Bucket.PROMOTIONAL, effective_at=at + timedelta(days=1))
    await books.give(7, at)
    await books.hold(5, CreditCost("chat", 1), 5, at)
    [now] = (await standing.balances(books.database, [books.acme], at)).values()
    assert [(b.bucket, b.available, b.held) for b in now.buckets] == [
        (Bucket.SUBSCRIPTION, 95, 5),
        (Bucket.PERMANENT, 7, 0),
        (Bucket.PROMOTIONAL, 0, 0),
    ]
    assert (now.available, now.held) == (102, 5)
    assert await books.left(at + timedelta(days=1)) == (142, 5)
    assert await books.left(at + timedelta(days=30)) == (47, 5)
    assert await books.left(at, "globex") == (0, 0)


async def test_a_balance_of_any_instant_is_the_sum_of_the_entries_up_to_it(
    books: Books, clock: FakeClock
) -> None:
    first = clock.now()
    await books.give(10, first)
    second = clock.advance(days=1)
    hold = await books.hold(4, CreditCost("chat", 1), 4, second)
    third = clock.advance(minutes=10)
    await books.resolve(hold, Resolution.CAPTURE, third, units=3)
    found = []
    for at in (first - timedelta(seconds=1), first, second, third):
        balance = await standing.balance_at(books.database, books.acme, at)
        found.append((balance.available, balance.held))
    assert found == [(0, 0), (10, 0), (6, 4), (7, 0)]
    assert await books.left(third) == found[-1]


async def test_grants_are_listed_newest_first_with_what_is_left(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    chat = frozenset({books.features["chat"]})
    ids = [await books.give(5, at, features=chat), await books.give(6, at)]
    await books.spend(3, at)
    found = await standing.grants(books.database, books.acme)
    assert [(g.id, g.units, g.available, g.features) for g in found] == [
        (ids[1], 6, 6, None),
        (ids[0], 5, 2, ("chat",)),
    ]
    assert [g.id for g in await standing.grants(books.database, books.acme, 1, ids[1])] == ids[:1]
    assert found[0].usable(at - timedelta(seconds=1)) == 0


async def read(books: Books, **wanted: object) -> list[Entry]:
    return await entries(books.database, books.acme, Filter(**wanted))  # type: ignore[arg-type]


async def test_the_ledger_is_filtered_and_turned_page_by_page(
    books: Books, clock: FakeClock
) -> None:
    start = clock.now()
    why = WHY._replace(operation_id="~gift", reference="ticket-1", correlation_id="c-1")
    promo = await books.give(5, start, bucket=Bucket.PROMOTIONAL, why=why, priority=1)
    await books.give(50, start)
    later = clock.advance(hours=1)
    spent = await books.spend(8, later, units=4, key="order-7")
    await books.spend(1, clock.advance(hours=1), feature="search")

    newest = await read(books)
    assert [e.kind for e in newest] == ["spend", "spend", "spend", "grant", "grant"]
    assert [e.id for e in newest] == sorted((e.id for e in newest), reverse=True)
    assert {(e.operation_id, e.reference) for e in newest[1:3]} == {(spent, "order-7")}
    page = await entries(books.database, books.acme, Filter(), 2)
    rest = await entries(books.database, books.acme, Filter(), 10, page[-1].id)
    assert page + rest == newest

    assert {e.kind for e in await read(books, kinds=[Kind.GRANT])} == {"grant"}
    assert [e.amount for e in await read(books, bucket=Bucket.PROMOTIONAL)] == [5, 5]
    assert [e.feature for e in await read(books, feature="search")] == ["search"]
    assert [e.kind for e in await read(books, grant_id=promo)] == ["spend", "grant"]
    assert await read(books, operations=["order-8"]) == []
    assert [e.amount for e in await read(books, reference="ticket-1")] == [5]
    assert [e.amount for e in await read(books, correlation_id="c-1")] == [5]
    assert len(await read(books, since=later)) == 3
    assert len(await read(books, since=start, until=later)) == 2
    assert await read(books, feature="nothing") == []


async def test_an_operation_is_found_whole_by_each_of_its_names(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(50, at)
    spent = await books.spend(8, at, units=4, key="order-7")
    await books.spend(2, at, units=1, key="order-8")
    why = WHY._replace(operation_id=spent, reference="release-1")
    async with books.database.transaction() as conn:
        await give_back(conn, books.acme, books.features["chat"], Kept(4, 4, 1), why, at)
    answered = ConsumptionId(round(at.timestamp() * 1000), 0, spent).encode()
    for name in (spent, "order-7", answered):
        found = await read(books, operations=ConsumptionId.names_of(name))
        assert [(e.kind, e.amount) for e in found] == [("return", 6), ("spend", 8)]


@pytest.mark.parametrize("first", [0, 3])
async def test_a_page_has_at_most_what_was_asked_for(
    books: Books, clock: FakeClock, first: int
) -> None:
    for _ in range(5):
        await books.give(1, clock.now())
    assert len(await entries(books.database, books.acme, Filter(), first)) == first
