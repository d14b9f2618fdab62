"""A month's statement: what stood, what moved, what stands; the closing is the sum of entries."""

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from api.domain.catalog import Bucket, CreditCost
from api.domain.errors import InvalidInput
from api.ledger.entries import Kind, Movement, post
from api.ledger.expiry import expire
from api.ledger.grants import restore, revoke
from api.ledger.heavy_users import heavy_users
from api.ledger.holds import Resolution
from api.ledger.returns import Kept, give_back
from api.ledger.statement import COLUMNS, BucketLine, Statement, statement, to_csv
from tests.support.books import WHY, Books
from tests.support.clock import FakeClock

BERLIN = "Europe/Berlin"


async def march(books: Books) -> Statement:
    return await statement(books.database, books.acme, BERLIN, "2026-03")


def adds_up(line: BucketLine) -> bool:
    moved = line.granted - line.spent + line.returned - line.held_net
    ended = -line.expired - line.revoked + line.restored
    return line.closing == line.opening + moved + ended


async def test_a_statement_says_every_movement_and_adds_up(books: Books, clock: FakeClock) -> None:
    # 28 February 23:30 UTC is March in Berlin; 31 March 22:30 UTC is April there.
    clock.set(datetime(2026, 2, 10, tzinfo=UTC))
    monthly = await books.give(
        100,
        clock.now(),
        bucket=Bucket.SUBSCRIPTION,
        priority=50,
        expires_at=datetime(2026, 3, 20, tzinfo=UTC),
    )
    await books.spend(10, clock.now(), units=2)
    clock.set(datetime(2026, 2, 28, 23, 30, tzinfo=UTC))
    pack = await books.give(500, clock.now())
    await books.spend(60, clock.now(), units=12)
    await books.spend(50, clock.now(), units=5, feature="search")
    hold = await books.hold(30, CreditCost("chat", 1), 30, clock.now())
    at = clock.advance(minutes=20)
    await books.resolve(hold, Resolution.CAPTURE, at, units=10, final=False)
    async with books.database.transaction() as conn:
        await post(conn, [Movement(books.acme, Kind.RETURN, pack, 7, at, WHY, 1, 1)])
        await revoke(conn, books.acme, pack, 40, WHY, at)
        await restore(conn, books.acme, pack, 15, WHY, at)
    clock.set(datetime(2026, 3, 21, tzinfo=UTC))
    await books.give(9, clock.now(), bucket=Bucket.PROMOTIONAL)
    await books.give(1, clock.now(), bucket=Bucket.SUBSCRIPTION)
    await expire(books.database, clock.now())
    clock.set(datetime(2026, 3, 31, 22, 30, tzinfo=UTC))
    await books.give(1000, clock.now())

    found = await march(books)
    by = {line.bucket: line for line in found.buckets}
    assert found.starts_at == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert found.ends_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert all(adds_up(line) for line in found.buckets)
    subscription, permanent = by[Bucket.SUBSCRIPTION], by[Bucket.PERMANENT]
    assert (subscription.opening, subscription.granted, subscription.spent) == (90, 1, 90)
    assert (permanent.opening, permanent.granted, permanent.revoked) == (0, 500, 40)
    assert (permanent.returned, permanent.restored) == (7, 15)
    assert by[Bucket.PROMOTIONAL].closing == 9
    assert (found.total["spent"], found.total["held_net"]) == (120, 20)
    sums = await books.database.fetch(
        "select bucket, sum(amount) as amount from credit_postings"
        " where account = 'available' and at < $1 group by 1",
        found.ends_at,
    )
    assert {line.bucket.value: line.closing for line in found.buckets} == {
        row["bucket"]: row["amount"] for row in sums
    }
    assert [(f.feature, f.units, f.spent, f.returned, f.credits) for f in found.features] == [
        ("chat", 21, 70, 7, 63),
        ("search", 5, 50, 0, 50),
    ]
    following = await statement(books.database, books.acme, BERLIN, "2026-04")
    assert [line.opening for line in following.buckets] == [line.closing for line in found.buckets]
    assert monthly != pack


async def test_units_given_back_are_none_that_were_used(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    await books.give(100, at)
    spent = await books.spend(50, at, units=10)
    why = WHY._replace(operation_id=spent, reference="release-1")
    async with books.database.transaction() as conn:
        await give_back(conn, books.acme, books.features["chat"], Kept(10, 10, 4), why, at)
    [chat] = (await march(books)).features
    assert (chat.units, chat.spent, chat.returned) == (4, 50, 30)
    [top] = await heavy_users(books.database, at, at + timedelta(days=1))
    assert [(f.feature, f.units, f.credits) for f in top.features] == [("chat", 4, 20)]


async def test_the_expired_are_told_apart(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    await books.give(40, at, expires_at=at + timedelta(days=1))
    await expire(books.database, clock.advance(days=2))
    assert ((await march(books)).total["expired"], (await march(books)).total["closing"]) == (40, 0)


async def test_the_csv_has_stable_columns_and_the_same_figures(
    books: Books, clock: FakeClock
) -> None:
    await books.give(40, clock.now())
    await books.spend(3, clock.now(), units=2)
    found = await march(books)
    text = to_csv('Acme, "the first"', found)
    lines = list(csv.DictReader(StringIO(text)))
    assert tuple(lines[0]) == COLUMNS
    assert text.splitlines()[0] == (
        "customer,month,starts_at,ends_at,line,name,opening,granted,spent,returned,held_net,"
        "expired,revoked,restored,closing,opening_held,closing_held,units,credits"
    )
    assert [line["line"] for line in lines] == ["bucket"] * 3 + ["total", "feature"]
    assert {line["customer"] for line in lines} == {'Acme, "the first"'}
    assert (lines[3]["granted"], lines[3]["spent"], lines[3]["closing"]) == ("40", "3", "37")
    assert (lines[4]["name"], lines[4]["units"], lines[4]["credits"]) == ("chat", "2", "3")


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-3", "1969-12", "9999-12", "x" * 99])
async def test_what_is_no_month_is_refused(books: Books, month: str) -> None:
    with pytest.raises(InvalidInput, match="2026-03"):
        await statement(books.database, books.acme, "UTC", month)
