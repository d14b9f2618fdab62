"""CR-5: balance and ledger disagree. Each fault is planted, and found by the check of its name.

The audit itself, which opens findings and alerts, belongs to another issue; it calls these checks.
"""

from datetime import timedelta

import pytest

from api.domain.catalog import CreditCost
from api.infra.postgres import Database
from api.ledger.checks import (
    Finding,
    Severity,
    balance_mismatch,
    ledger_sum_mismatch,
    rebuild_balances,
)
from api.ledger.expiry import expire
from api.ledger.holds import Resolution
from tests.support.books import Books, open_books
from tests.support.clock import FakeClock


@pytest.fixture
async def books(database: Database, clock: FakeClock) -> Books:
    """A ledger in which everything happened once, and nothing is wrong."""
    made = await open_books(database, clock.now())
    at = clock.now()
    await made.give(100, at)
    await made.give(50, at, customer="globex")
    await made.spend(10, at, key="order-1")
    await made.spend(3, at, customer="globex")
    cost = CreditCost("chat", 2)
    for resolution, units in ((Resolution.CAPTURE, 3), (Resolution.VOID, None)):
        hold = await made.hold(5, cost, 10, at)
        await made.resolve(hold, resolution, at, units=units)
    await made.hold(5, cost, 10, at)
    assert await found(made, clock) == []
    return made


async def found(books: Books, clock: FakeClock) -> list[Finding]:
    return [
        *await balance_mismatch(books.database, clock.now()),
        *await ledger_sum_mismatch(books.database),
    ]


async def plant(books: Books, sql: str, *args: object) -> None:
    """Write as nobody may: without the triggers."""
    async with books.database.transaction() as conn:
        await conn.execute("set local session_replication_role = replica")
        await conn.execute(sql, *args)


@pytest.mark.parametrize(
    ("fault", "available", "held"), [("available = available + 7", 81, 10), ("held = 17", 74, 17)]
)
async def test_a_kept_balance_that_its_entries_do_not_give_is_found_and_rebuilt(
    books: Books, clock: FakeClock, fault: str, available: int, held: int
) -> None:
    await plant(books, "update credit_grants set " + fault + " where customer_id = 1")  # noqa: S608 - a fault of ours
    [one] = await found(books, clock)
    assert (one.kind, one.severity) == ("balance_mismatch", Severity.CRITICAL)
    assert (one.customer_id, one.grant_id) == (books.acme, 1)
    assert one.observed == f"kept: {available} available, {held} held"
    assert one.expected == "entries: 74 available, 10 held"
    async with books.database.transaction() as conn:
        assert await rebuild_balances(conn, books.acme) == {1: (74, 10)}
        assert await rebuild_balances(conn, books.acme) == {}
    assert await found(books, clock) == []


async def test_an_expired_bucket_counts_zero(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    grant = await books.give(20, at, expires_at=at + timedelta(days=1))
    clock.advance(days=1)
    # Its entry is still to come, and no balance is wrong.
    assert await found(books, clock) == []
    await plant(books, "update credit_grants set available = 25 where id = $1", grant)
    [one] = await found(books, clock)
    assert (one.severity, one.grant_id) == (Severity.WARNING, grant)
    assert "count zero" in one.expected
    async with books.database.transaction() as conn:
        assert await rebuild_balances(conn, books.acme) == {grant: (20, 0)}
    assert await expire(books.database, clock.now()) == 1
    assert await found(books, clock) == []


async def of_the_ledger(books: Books, clock: FakeClock, *, customer: str = "acme") -> Finding:
    """Return the one finding about the ledger; kept balances may be wrong with it."""
    ledger = [one for one in await found(books, clock) if one.kind == "ledger_sum_mismatch"]
    assert {one.customer_id for one in ledger} == {books.customers[customer]}
    assert {one.severity for one in ledger} == {Severity.CRITICAL}
    assert await ledger_sum_mismatch(books.database, books.customers[customer]) == ledger
    [one] = ledger
    return one


ENTRY = (
    "insert into credit_entries (customer_id, at, kind, debit, credit, amount, grant_id, bucket,"
    " operation_id, reason, actor) values"
)


async def test_entries_of_a_grant_that_there_is_not(books: Books, clock: FakeClock) -> None:
    values = "(1, $1, 'grant', 'issued', 'available', 5, 99, 'permanent', 'x', 'x', 'x')"
    await plant(books, f"{ENTRY} {values}", clock.now())
    one = await of_the_ledger(books, clock)
    assert (one.grant_id, one.observed) == (99, "1 entries of 5 credits in all")


async def test_entries_of_a_customer_that_there_is_not(books: Books, clock: FakeClock) -> None:
    values = "(999, $1, 'grant', 'issued', 'available', 5, 99, 'permanent', 'x', 'x', 'x')"
    await plant(books, f"{ENTRY} {values}", clock.now())
    [one] = await ledger_sum_mismatch(books.database)
    assert (one.customer_id, one.grant_id) == (999, 99)


async def test_a_grant_that_was_not_entered_as_given(books: Books, clock: FakeClock) -> None:
    await plant(books, "update credit_grants set units = 60 where customer_id = 2")
    one = await of_the_ledger(books, clock, customer="globex")
    assert (one.observed, one.expected) == ("50 credits entered as given", "60 credits")


async def test_an_account_below_zero(books: Books, clock: FakeClock) -> None:
    values = "(2, $1, 'expire', 'available', 'expired', 60, 2, 'permanent', 'x', 'x', 'x')"
    await plant(books, f"{ENTRY} {values}", clock.now())
    one = await of_the_ledger(books, clock, customer="globex")
    assert one.observed == "-13 credits in account available"
    async with books.database.transaction() as conn:
        # No balance can say so: mended by a new entry, not by a rebuild.
        assert await rebuild_balances(conn, books.customers["globex"]) == {}


async def test_an_operation_whose_entries_took_something_else(
    books: Books, clock: FakeClock
) -> None:
    await plant(books, "update credit_operations set credits = 11 where operation_id = 'order-1'")
    one = await of_the_ledger(books, clock)
    assert (one.operation_id, one.observed) == ("order-1", "10 credits entered")
    assert one.expected.startswith("11 credits")


async def test_an_operation_whose_entries_are_gone(books: Books, clock: FakeClock) -> None:
    await plant(books, "delete from credit_entries where reference = 'order-1'")
    one = await of_the_ledger(books, clock)
    assert (one.operation_id, one.observed) == ("order-1", "0 credits entered")


@pytest.mark.parametrize("fault", ["credits = credits + 1", "spent = spent + 1"])
async def test_a_hold_whose_entries_say_something_else(
    books: Books, clock: FakeClock, fault: str
) -> None:
    await plant(books, "update holds set " + fault + " where state = 'captured'")  # noqa: S608 - likewise
    one = await of_the_ledger(books, clock)
    assert one.observed == "entries: 10 set aside, 6 spent, 0 held"
    assert one.operation_id is not None


async def test_an_open_hold_whose_credits_went_back_already(books: Books, clock: FakeClock) -> None:
    await plant(books, "update holds set state = 'voided' where state = 'open'")
    assert (await of_the_ledger(books, clock)).expected.endswith("0 held")


async def test_an_entry_between_other_accounts_than_its_kind_s(
    books: Books, clock: FakeClock
) -> None:
    await plant(
        books, "update credit_entries set credit = 'held' where customer_id = 2 and kind = 'spend'"
    )
    one = await of_the_ledger(books, clock, customer="globex")
    assert one.expected == "bucket permanent, from available to spent"


async def test_an_entry_in_another_bucket_than_its_grant_s(books: Books, clock: FakeClock) -> None:
    await plant(
        books,
        "update credit_entries set bucket = 'promotional' where customer_id = 2 and kind = 'spend'",
    )
    assert "bucket promotional" in (await of_the_ledger(books, clock, customer="globex")).observed


async def test_postings_that_do_not_sum_to_zero(books: Books, clock: FakeClock) -> None:
    # With both sides in one row no entry can do it: the view must have lost a side.
    await plant(
        books,
        "create or replace view credit_postings as select customer_id, id, at, grant_id, bucket,"
        " operation_id, debit as account, -amount as amount from credit_entries"
        " union all select customer_id, id, at, grant_id, bucket, operation_id, credit, amount"
        " from credit_entries where customer_id = 1 or kind <> 'spend'",
    )
    one = await of_the_ledger(books, clock, customer="globex")
    assert (one.observed, one.expected) == ("postings sum to -3", "0")
