"""A life in which everything may happen between two calls: retries, cuts, losses, corrections.

The model is a list of what was accepted. Whatever the order: a key counts once and gives its first
answer, and in the end the record's totals are what was accepted.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.catalog.customers import CustomerInput
from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.errors import IdempotencyConflict, Unavailable
from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky import flaky_way
from tests.support.gate import ms, opened
from tests.support.waiting import eventually

CATALOG = """
product = "test"
[customer_types.business]
default_plan = "free"
[features.calls]
name = "Calls"
kind = "metered"
replay_seconds = 86400
[features.posts]
name = "Posts"
kind = "metered"
replay_seconds = 86400
durability = "journaled"
[features.lenient]
name = "Lenient"
kind = "metered"
replay_seconds = 86400
outage = "open"
[features.careful]
name = "Careful"
kind = "metered"
replay_seconds = 86400
outage = { bounded = 5 }
[features.seats]
name = "Seats"
kind = "allocation"
[plans.free]
name = "Free"
[plans.free.features]
calls = { day = 12, month = 30 }
posts.month = 12
lenient = "unlimited"
careful.day = 20
seats = 9
"""
METERED = ("calls", "posts", "lenient", "careful")
# What a key stands for never changes here, so that each use of it after the first is a retry.
NAMED = {f"k{n}": (METERED[n % 4], 1 + n % 3) for n in range(8)}
_numbers = itertools.count()
T = TypeVar("T")


class Life(RuleBasedStateMachine):
    """One customer, one way to the counters that may be cut."""

    database_url = redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock(datetime(2026, 3, 10, 10, tzinfo=UTC))
        self.customer = f"life-{next(_numbers)}"
        self.totals: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.taken: list[tuple[str, str]] = []
        self.down = False
        self.core = self.do(self.begin())

    def do(self, steps: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(steps)

    @property
    def at(self) -> int:
        return ms(self.clock.now())

    async def begin(self) -> Core:
        self.way = await self.stack.enter_async_context(flaky_way(self.redis_url))
        return await self.stack.enter_async_context(
            opened(self.database_url, self.way.url, self.clock, CATALOG, (self.customer,))
        )

    async def up(self) -> bool:
        try:
            await self.core.door.command("PING")
        except Unavailable:
            return False
        return True

    async def noticed(self) -> bool:
        return not await self.up()

    async def drained(self) -> None:
        while await self.core.drainer.drain(range(256)):
            pass

    async def consume(self, feature: str, units: int, key: str | None) -> Consumption | None:
        try:
            outcome = await self.core.gate.consume(self.customer, feature, units, key, self.at)
        except Unavailable:
            assert self.down
            return None
        return None if isinstance(outcome, Denied) else outcome

    @rule(key=st.sampled_from(sorted(NAMED)))
    def named(self, key: str) -> None:
        feature, units = NAMED[key]
        outcome = self.do(self.consume(feature, units, key))
        if key in self.first:
            if not self.down:
                assert outcome is not None
                assert (outcome.id, outcome.replayed) == (self.first[key], True)
        elif outcome is not None:
            assert not outcome.replayed
            self.first[key] = outcome.id
            self.totals[feature] += units
            self.taken.append((feature, outcome.id))

    @precondition(lambda self: self.first and not self.down)
    @rule(data=st.data())
    def other_contents(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.first)))
        feature, units = NAMED[key]
        with pytest.raises(IdempotencyConflict):
            self.do(self.consume(feature, units + 1, key))

    @rule(feature=st.sampled_from((*METERED, "seats")), units=st.integers(1, 4))
    def unnamed(self, feature: str, units: int) -> None:
        if self.do(self.consume(feature, units, None)) is not None:
            self.totals[feature] += units

    @precondition(lambda self: not self.down)
    @rule(units=st.integers(1, 4))
    def together(self, units: int) -> None:
        items = [("calls", units), ("posts", 1), ("seats", 1)]
        gate = self.core.gate
        outcome = self.do(gate.consume_together(self.customer, items, None, self.at))
        if not isinstance(outcome, Denied):
            self.totals.update(dict(items))

    @precondition(lambda self: not self.down and self.totals["seats"])
    @rule()
    def release_seat(self) -> None:
        self.do(self.core.gate.release(self.customer, "seats", 1, None, self.at))
        self.totals["seats"] -= 1

    @precondition(lambda self: not self.down and self.taken)
    @rule()
    def release_by_consumption(self) -> None:
        feature, consumption = self.taken.pop()
        releases = self.core.releases
        for replayed in (False, True):
            back = self.do(releases.release(self.customer, feature, 1, consumption, "r", self.at))
            assert back.replayed is replayed
        self.totals[feature] -= 1

    @precondition(lambda self: not self.down)
    @rule(feature=st.sampled_from(("calls", "posts", "careful")))
    def reset(self, feature: str) -> None:
        repair, now = self.core.repair, self.clock.now()
        done = self.do(
            repair.usage_reset(self.customer, feature, None, actor="t", reason="t", at=now)
        )
        self.totals[feature] -= done.units

    @precondition(lambda self: not self.down)
    @rule(zone=st.sampled_from(("UTC", "Asia/Kolkata", "America/Los_Angeles")))
    def zone(self, zone: str) -> None:
        change = CustomerInput(self.customer, timezone=zone)
        self.do(self.core.changes.upsert_customer(change, self.clock.now(), "t"))

    @precondition(lambda self: not self.down)
    @rule(units=st.integers(0, 40))
    def promise(self, units: int) -> None:
        facts = OverrideFacts("calls", limits=(Limit(WindowKind.DAY, units),))
        now, changes = self.clock.now(), self.core.changes
        self.do(changes.set_override(self.customer, facts, at=now, actor="t", reason="t"))

    @rule(seconds=st.sampled_from((1, 60, 150)))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @precondition(lambda self: not self.down)
    @rule(lose=st.booleans())
    def drain(self, *, lose: bool) -> None:
        self.do(self.drained())
        if lose:
            self.do(self.lost())

    async def lost(self) -> None:
        await self.core.door.command("FLUSHALL")

    @precondition(lambda self: not self.down)
    @rule()
    def cut(self) -> None:
        self.way.cut()
        self.do(eventually(self.noticed))
        self.down = True

    @precondition(lambda self: self.down)
    @rule()
    def restore(self) -> None:
        self.way.down = self.down = False
        self.do(eventually(self.up))

    def teardown(self) -> None:
        try:
            if self.down:
                self.restore()
            self.do(self.agree())
        finally:
            self.do(self.stack.aclose())
            self.runner.close()

    async def agree(self) -> None:
        while await self.core.outage.settle():
            pass
        await self.drained()
        rows = await self.core.database.fetch(
            "select f.key, sum(t.units)::bigint as units from usage_totals t"
            " join features f on f.id = t.feature_id"
            " join customers c on c.id = t.customer_id where c.key = $1 group by 1",
            self.customer,
        )
        recorded = {row["key"]: row["units"] for row in rows if row["units"]}
        assert recorded == {key: units for key, units in self.totals.items() if units}


@pytest.mark.one_server
def test_whatever_happens_between_calls_a_key_counts_once_and_the_record_adds_up(
    database_url: str, redis_url: str
) -> None:
    Life.database_url, Life.redis_url = database_url, redis_url
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
