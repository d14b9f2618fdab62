"""Charges of one moment travel together, and none suffers for another's fault."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from api.infra.postgres import Database, NotNullViolation
from api.ledger.charges import Charge, ChargedItem, Charges, Decided, Outcome
from api.ledger.together import MOST_TOGETHER
from api.metering.partitions import Partitions
from tests.support.books import Books
from tests.support.clock import FakeClock
from tests.support.flaky_record import flaky_record

EPOCH = 7
SHARD = 3


def charge(books: Books, name: str, at: datetime, units: int = 1) -> Charge:
    return Charge(
        customer_id=books.acme,
        operation_id=name,
        attempt=f"~{name}",
        at=at,
        fingerprint=f"{units}",
        expires_at=at + timedelta(hours=1),
        answer=name.encode(),
        items=[ChargedItem(books.features["chat"], units, units, units)],
        reason="used",
        actor="test",
    )


async def all_of(charges: Charges, asked: Sequence[Charge]) -> list[Decided | BaseException]:
    return await asyncio.gather(*(charges.decide(one) for one in asked), return_exceptions=True)


async def statements(books: Books) -> int:
    """Count transactions that wrote operations: each statement is one of its own."""
    return int(
        await books.database.fetchval("select count(distinct xmin::text) from credit_operations")
    )


async def entries(books: Books) -> int:
    return int(
        await books.database.fetchval(
            "select coalesce(sum(amount), 0) from credit_entries where kind = 'spend'"
        )
    )


async def test_callers_of_one_moment_share_a_statement(books: Books, clock: FakeClock) -> None:
    await books.give(1000, clock.now())
    asked = [charge(books, f"k{n}", clock.now()) for n in range(MOST_TOGETHER)]
    decided = await all_of(books.charges, asked)
    assert [d.balance for d in decided if isinstance(d, Decided)] == [
        999 - n for n in range(MOST_TOGETHER)
    ]
    # Whoever comes when a batch is full has a second one, and no more.
    assert await statements(books) <= 2


async def test_a_charge_that_cannot_be_written_fails_alone(books: Books, clock: FakeClock) -> None:
    await books.give(100, clock.now())
    asked = [charge(books, f"k{n}", clock.now()) for n in range(9)]
    # An entry without a reason is refused, and with it the whole statement that it is part of.
    asked[4] = asked[4]._replace(reason=None)  # type: ignore[arg-type]
    decided = await all_of(books.charges, asked)
    failed = [n for n, one in enumerate(decided) if isinstance(one, BaseException)]
    assert failed == [4]
    assert await entries(books) == 8
    assert isinstance(decided[4], NotNullViolation)
    again = await books.charges.decide(charge(books, "k4", clock.now()))
    assert (again.outcome, again.balance) == (Outcome.DONE, 91)


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_connection_lost_under_a_charge_is_tried_again_and_charges_once(
    books: Books, database_url: str, clock: FakeClock, *, carried_out: bool
) -> None:
    await books.give(100, clock.now())
    async with (
        flaky_record(database_url) as way,
        await Database.open(way.url, max_size=2) as database,
    ):
        charges = Charges(database, Partitions(database).ensure)
        await charges.decide(charge(books, "before", clock.now()))
        (way.lose if carried_out else way.refuse)("credits_charge")
        decided = await charges.decide(charge(books, "k", clock.now(), 5))
        assert way.failed == 1
    assert decided.outcome is (Outcome.REPLAYED if carried_out else Outcome.DONE)
    assert (decided.credits, decided.balance) == (5, 94)
    assert await entries(books) == 6


async def test_one_name_in_one_moment_charges_once(books: Books, clock: FakeClock) -> None:
    await books.give(100, clock.now())
    same = [charge(books, "k", clock.now(), 5)._replace(attempt=f"~{n}") for n in range(20)]
    decided = await all_of(books.charges, [*same, charge(books, "k", clock.now(), 6)])
    # Which of them is first is settled between the batches that are under way at once.
    *outcomes, other = [one.outcome for one in decided if isinstance(one, Decided)]
    assert Counter(outcomes) == {Outcome.DONE: 1, Outcome.REPLAYED: 19}
    assert other is Outcome.CONFLICT
    assert await entries(books) == 5


async def test_what_counters_or_rights_no_longer_stand_for_is_not_charged(
    books: Books, clock: FakeClock
) -> None:
    at = clock.now()
    await books.give(100, at)
    await books.database.execute(
        "update shard_epochs set epoch = $2 where shard = $1", SHARD, EPOCH
    )
    await books.database.execute(
        "insert into credit_pending (customer_id, attempt_id, at, deadline, state, feature_ids,"
        " units, charged) values ($1, '~voided', $2, $2, 'void', '{1}', '{1}', '{1}'),"
        " ($1, '~open', $2, $2, 'open', '{1}', '{1}', '{1}')",
        books.acme,
        at,
    )
    version = await books.database.fetchval(
        "select version from customers where id = $1", books.acme
    )
    asked = [
        charge(books, "voided", at)._replace(shard=SHARD, epoch=EPOCH),
        charge(books, "open", at)._replace(shard=SHARD, epoch=EPOCH),
        charge(books, "ended", at)._replace(shard=SHARD, epoch=EPOCH - 1),
        charge(books, "changed", at)._replace(version=version + 1),
        charge(books, "plain", at)._replace(version=version),
    ]
    decided = await all_of(books.charges, asked)
    assert [one.outcome for one in decided if isinstance(one, Decided)] == [
        Outcome.VOIDED,
        Outcome.DONE,
        Outcome.OTHER_EPOCH,
        Outcome.RIGHTS_CHANGED,
        Outcome.DONE,
    ]
    assert await entries(books) == 2
    left = await books.database.fetch("select attempt_id from credit_pending")
    assert [row["attempt_id"] for row in left] == ["~voided"]
    names = await books.database.fetch("select operation_id from credit_operations order by 1")
    assert [row["operation_id"] for row in names] == ["open", "plain"]
