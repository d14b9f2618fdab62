"""PostgreSQL's ledger beside the pure one: the same operations, the same answers and entries.

Whatever is asked, in batches, again, late, under a used name or twice at once: each answer is the
model's, and in the end balances, buckets, usage, holds and the whole history are.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.domain.catalog import Bucket
from api.domain.holds import Verdict
from api.infra.postgres import Database
from api.ledger.charges import Charges
from api.ledger.entries import Kind
from api.ledger.holds import Resolution
from api.metering.partitions import Partitions
from tests.support.books import open_books
from tests.support.clock import FakeClock
from tests.support.twin_ledgers import COSTS, FEATURES, Asked, Given, Turned, TwinLedgers

BEGINNING = datetime(2026, 3, 10, 10, tzinfo=UTC)
_numbers = itertools.count(1)
T = TypeVar("T")
Named = TypeVar("Named", bound=Asked | Turned)

customers = st.integers(0, 1)
keys = st.none() | st.sampled_from(("k0", "k1", "k2"))
picks = st.integers(0, 6)
uses = st.tuples(st.integers(0, 1), st.integers(1, 12), st.integers(0, 4))
asked = st.builds(
    Asked,
    customer=customers,
    key=keys,
    uses=st.lists(uses, min_size=1, max_size=2).map(tuple),
    cost=st.integers(0, len(COSTS) - 1),
    hold_minutes=st.sampled_from((None, None, 10, 45, 400)),
)
turned = st.builds(
    Turned,
    key=keys,
    pick=picks,
    stranger=st.sampled_from((False,) * 5 + (True,)),
    resolution=st.sampled_from([Resolution.CAPTURE] * 3 + list(Resolution)),
    units=st.sampled_from((None, 0, 1, 1, 2, 3, 12)),
    final=st.booleans(),
    minutes=st.sampled_from((5, 60, 500)),
)
given = st.builds(
    Given,
    customer=customers,
    source=st.sampled_from([f"s{n}" for n in range(8)]),
    units=st.integers(1, 90),
    bucket=st.sampled_from(Bucket),
    priority=st.integers(0, 2),
    starts=st.sampled_from((-30, 0, 0, 0, 40)),
    lasts=st.sampled_from((None, 50, 50, 200)),
    features=st.sampled_from((None, None, ("chat",), ("search",), FEATURES)),
)


class Life(RuleBasedStateMachine):
    """Two customers, their ledgers in PostgreSQL, and the model of each."""

    database_url: ClassVar[str] = ""
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock(BEGINNING)
        self.charged: list[Asked] = []
        self.turns: list[Turned] = []
        self.twins = self.do(self.begin())

    def do(self, steps: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(steps)

    async def begin(self) -> TwinLedgers:
        database = await self.stack.enter_async_context(
            await Database.open(self.database_url, max_size=3)
        )
        rows = await database.fetch(
            "insert into customers (key, type, created_at, updated_at, catalog_revision)"
            " select 'c' || n, 'business', $2, $2, r.revision"
            " from unnest($1::integer[]) n, catalog_revisions r returning id",
            [next(_numbers), next(_numbers)],
            self.clock.now(),
        )
        features = await database.fetch("select key, id from features")
        return TwinLedgers(
            database,
            self.clock,
            [row["id"] for row in rows],
            {row["key"]: row["id"] for row in features},
            Charges(database, Partitions(database).ensure),
            _numbers,
        )

    @initialize(units=st.integers(1, 150))
    def welcome(self, units: int) -> None:
        for customer in (0, 1):
            first = Given(customer, "welcome", units, Bucket.PERMANENT, 1, 0, None, None)
            self.do(self.twins.give(first))

    @rule(given=given)
    def give(self, given: Given) -> None:
        self.do(self.twins.give(given))

    @rule(asks=st.lists(st.one_of(asked, asked, picks), min_size=1, max_size=8))
    def charge(self, asks: Sequence[Asked | int]) -> None:
        batch = retold(asks, self.charged)
        self.charged += batch
        self.do(self.twins.charge(batch))

    @precondition(lambda self: self.twins.holds)
    @rule(asks=st.lists(st.one_of(turned, turned, picks), min_size=1, max_size=8))
    def change(self, asks: Sequence[Turned | int]) -> None:
        batch = retold(asks, self.turns)
        self.turns += batch
        self.do(self.twins.change(batch))

    @rule(minutes=st.sampled_from((0, 1, 5, 15, 61)), what=st.sampled_from(("", "holds", "grants")))
    def wait(self, minutes: int, what: str) -> None:
        self.clock.advance(minutes=minutes)
        if what == "holds":
            self.do(self.twins.expire_holds())
        elif what == "grants":
            self.do(self.twins.expire_grants())

    @rule(
        what=st.sampled_from(("revoke", "restore", "take", "give back", "give back")),
        pick=picks,
        units=st.integers(0, 12),
    )
    def correct(self, what: str, pick: int, units: int) -> None:
        found = [(c, g) for c, ledger in enumerate(self.twins.models) for g in ledger.grants]
        customer, grant = found[-1 - pick % len(found)]
        if what == "revoke":
            self.do(self.twins.revoke(customer, grant, units or None))
        elif what == "restore":
            self.do(self.twins.restore(customer, grant, units + 1))
        elif what == "take":
            self.do(self.twins.take(customer, 3 * units + 1))
        elif self.twins.spent:
            self.do(self.twins.give_back(pick, units))

    def teardown(self) -> None:
        try:
            self.do(self.twins.agree())
            self.seen.update(self.twins.seen)
        finally:
            self.do(self.stack.aclose())
            self.runner.close()


def retold(asks: Sequence[Named | int], earlier: Sequence[Named]) -> list[Named]:
    """Put in place of a number what was asked before, or in this very batch."""
    known: list[Named] = [*earlier, *(one for one in asks if not isinstance(one, int))]
    return [known[-1 - one % len(known)] if isinstance(one, int) else one for one in asks if known]


def test_the_record_answers_and_enters_what_the_model_does(database_url: str) -> None:
    async def prepare() -> None:
        async with await Database.open(database_url) as database:
            await open_books(database, BEGINNING)

    asyncio.run(prepare())
    Life.database_url = database_url
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    seen = {end.rpartition(" ")[2] for end in Life.seen}
    missing = ({kind.word for kind in Kind} | {verdict.name for verdict in Verdict}) - seen
    assert not missing, "the lives were too quiet"
