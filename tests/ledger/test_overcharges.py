"""What was charged above the right cost is found, and returned once to the grants that paid."""

import itertools
from datetime import timedelta

from api.domain.catalog import Bucket, CreditCost
from api.ledger.entries import Why
from api.ledger.expiry import expire
from api.ledger.history import Entry, entries
from api.ledger.holds import Resolution
from api.ledger.overcharges import Difference, Spender, Window, difference, give_back, spenders
from api.ledger.returns import Kept
from api.ledger.returns import give_back as release
from tests.support.books import Books
from tests.support.clock import FakeClock

WHY = Why("~refund:1", "priced wrongly", "key:support", "ticket-9")
ONE_EACH = CreditCost("chat", 1)
_releases = itertools.count(1)


def window(books: Books, clock: FakeClock) -> Window:
    at = clock.now()
    return Window(books.features["chat"], at - timedelta(days=30), at + timedelta(days=1))


async def refund(books: Books, clock: FakeClock, cost: CreditCost = ONE_EACH) -> Difference:
    of = window(books, clock)
    acme = Spender(books.acme, "acme")
    dry = await difference(books.database, acme, of, cost)
    async with books.database.transaction() as conn:
        done = await give_back(conn, acme, of, cost, WHY, clock.now())
    assert dry == done
    return done


async def give_units_back(
    books: Books, operation: str, charged: int, kept: tuple[int, ...], clock: FakeClock
) -> list[int]:
    """Release the units of an operation step by step; return the credits that came of each."""
    chat, why = books.features["chat"], WHY._replace(operation_id=operation, reference=None)
    came, before = [], charged
    async with books.database.transaction() as conn:
        for now in kept:
            await conn.execute(
                "insert into usage_releases (customer_id, consumption_id, consumed_at,"
                " operation_id, item, units, at, feature_id, charged)"
                " values ($1, $2, $5, $3, 0, $4, $5, $6, $4)",
                books.acme,
                operation,
                f"release-{next(_releases)}",
                before - now,
                clock.now(),
                chat,
            )
            of = Kept(charged, before, now)
            came.append(await release(conn, books.acme, chat, of, why, clock.now()))
            before = now
    return came


async def returned(books: Books) -> list[Entry]:
    return [e for e in await entries(books.database, books.acme) if e.reference == "ticket-9"][::-1]


async def test_the_difference_goes_back_to_the_grants_that_paid_the_last_one_first(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    first = await books.give(20, at, priority=1)
    second = await books.give(100, at, priority=2)
    operation = await books.spend(50, at, units=10)
    await books.spend(2, at, units=2)
    await books.spend(9, at, units=1, feature="search")
    done = await refund(books, clock)
    assert (done.operations, done.charged, done.right, done.credits) == (1, 50, 10, 40)
    back = await returned(books)
    assert [(e.kind, e.grant_id, e.amount, e.operation_id) for e in back] == [
        ("return", second, 30, operation),
        ("return", first, 10, operation),
    ]
    assert {(e.reason, e.actor, e.feature, e.units) for e in back} == {
        ("priced wrongly", "key:support", "chat", None)
    }
    assert await books.left(clock.now()) == (120 - 50 - 2 - 9 + 40, 0)


async def test_a_repeat_returns_nothing_and_a_better_price_only_the_rest(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at)
    await books.spend(50, at, units=10)
    assert (await refund(books, clock, CreditCost("chat", 3))).credits == 20
    assert (await refund(books, clock, CreditCost("chat", 3))).credits == 0
    assert (await refund(books, clock)).credits == 20
    assert (await refund(books, clock, CreditCost("chat", 4))).credits == 0
    assert await books.left(at) == (90, 0)


async def test_what_an_expired_grant_paid_is_given_anew_by_one_like_it_and_once(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    of_chat = frozenset({books.features["chat"]})
    ending = await books.give(
        30, at, expires_at=at + timedelta(days=1), bucket=Bucket.PROMOTIONAL, features=of_chat
    )
    lasting = await books.give(30, at)
    operation = await books.spend(50, at, units=10)
    at = clock.advance(days=2)
    await expire(books.database, at)
    assert (await refund(books, clock, CreditCost("chat", 2))).credits == 30
    assert (await refund(books, clock, CreditCost("chat", 2))).credits == 0
    assert (await refund(books, clock)).credits == 10
    back = await returned(books)
    assert [(e.kind, e.grant_id, e.amount, e.operation_id) for e in back if e.kind == "return"] == [
        ("return", lasting, 20, operation),
        ("return", ending, 10, operation),
        ("return", ending, 10, operation),
    ]
    anew = [e for e in back if e.kind == "grant"]
    assert [(e.amount, e.bucket, e.operation_id) for e in anew] == [
        (10, "promotional", operation)
    ] * 2
    assert all(f"in place of grant {ending}" in e.reason for e in anew)
    rows = await books.database.fetch(
        "select expires_at, features from credit_grants where source like 'refund:%'"
    )
    assert [(row["expires_at"], row["features"]) for row in rows] == [
        (at + timedelta(days=1), [books.features["chat"]])
    ] * 2
    await expire(books.database, at)
    assert await books.left(at) == (30 - 20 + 20 + 20, 0)
    assert await books.left(clock.advance(days=400)) == (30, 0)


async def test_units_that_were_released_are_no_part_of_the_right_cost(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at)
    operation = await books.spend(50, at, units=10)
    assert await give_units_back(books, operation, 10, (8, 6), clock) == [10, 10]
    # Six units at 5 are paid for still; rightly they cost 3 each.
    done = await refund(books, clock, CreditCost("chat", 3))
    assert (done.charged, done.returned, done.right, done.credits) == (50, 20, 18, 12)
    assert (await refund(books, clock, CreditCost("chat", 3))).credits == 0
    assert await books.left(at) == (82, 0)


async def test_units_released_after_a_correction_bring_what_they_cost_since(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at)
    operation = await books.spend(80, at, units=10)
    assert await give_units_back(books, operation, 10, (8,), clock) == [16]
    assert (await refund(books, clock, CreditCost("chat", 4))).credits == 32
    assert await give_units_back(books, operation, 8, (5,), clock) == [12]
    assert (await refund(books, clock, CreditCost("chat", 4))).credits == 0
    assert await give_units_back(books, operation, 5, (0,), clock) == [20]
    assert await books.left(at) == (100, 0)


async def test_what_a_release_left_paid_by_its_rounding_is_not_owed(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at)
    operation = await books.spend(2, at, units=1500)
    assert await give_units_back(books, operation, 1500, (1000,), clock) == [0]
    assert (await refund(books, clock, CreditCost("chat", 1, per=1000))).credits == 0
    assert (await refund(books, clock, CreditCost("chat", 1, per=1500))).credits == 1


async def test_an_entry_says_how_many_units_came_back_in_that_step(
    books: Books, clock: FakeClock
) -> None:
    await books.give(100, clock.now())
    operation = await books.spend(50, clock.now(), units=10)
    await give_units_back(books, operation, 10, (8, 5), clock)
    back = [e for e in await entries(books.database, books.acme) if e.kind == "return"]
    assert [e.units for e in back[::-1]] == [2, 3]


async def test_captures_of_one_hold_are_judged_together(books: Books, clock: FakeClock) -> None:
    at = clock.now()
    await books.give(100, at)
    wrong = CreditCost("chat", 3, per=2)
    hold = await books.hold(9, wrong, 14, at)
    await books.resolve(hold, Resolution.CAPTURE, at, units=2, final=False)
    await books.resolve(hold, Resolution.CAPTURE, at, units=3)
    # Five units cost ceil(7.5) = 8; rightly 5.
    done = await refund(books, clock)
    assert (done.charged, done.right, done.credits) == (8, 5, 3)
    assert [e.operation_id for e in await returned(books)] == [hold]


async def test_only_operations_of_the_window_and_customers_who_paid_in_it(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    for customer in ("acme", "globex"):
        await books.give(100, at, customer=customer)
    await books.spend(50, at, units=1)
    at = clock.advance(days=40)
    await books.spend(5, at, units=1, customer="globex")
    of = window(books, clock)
    assert await spenders(books.database, of, 0, 10) == [
        Spender(books.customers["globex"], "globex")
    ]
    assert (await difference(books.database, Spender(books.acme, "acme"), of, ONE_EACH)) == (
        Difference(books.acme, "acme", 0, 0, 0, 0, 0)
    )


async def test_thousands_of_operations_are_judged_some_at_a_time(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100_000, at)
    await books.database.execute(
        "with spent as (insert into credit_entries (customer_id, at, kind, debit, credit, amount,"
        " grant_id, bucket, feature_id, units, operation_id, reason, actor)"
        " select $1, $2, 'spend', 'available', 'spent', 3, g.id, g.bucket, $3, 1, '~n' || n, 'x',"
        " 'x' from credit_grants g, generate_series(1, 1200) n where g.customer_id = $1"
        " returning amount)"
        " update credit_grants set available = available - (select sum(amount) from spent)"
        " where customer_id = $1",
        books.acme,
        at,
        books.features["chat"],
    )
    done = await refund(books, clock)
    assert (done.operations, done.credits) == (1200, 2400)
    assert (await refund(books, clock)).credits == 0
