"""A life of included units, caps, credits and holds, against a model that only adds up.

The model is lists of what was accepted: a call passes exactly when its units stay within every cap
and the credits there are pay for what the plan does not include; and after every step windows,
balance and holds are those sums.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.catalog.customers import CustomerInput
from api.domain.catalog import Bucket
from api.domain.errors import HoldClosed, IdempotencyConflict, InvalidInput, Unavailable
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.ledger import expiry, standing
from api.ledger.checks import balance_mismatch, ledger_sum_mismatch
from api.ledger.entries import Why
from api.ledger.grants import NewGrant, give
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.credit_model import CATALOG, FEATURES, PLANS, Counted, Given, Model
from tests.support.flaky_record import flaky_record
from tests.support.gate import ms, opened
from tests.support.scene import subscribe
from tests.support.spending import ACTOR, agree, books, whose, work

REPLAY = timedelta(days=1)
_numbers = itertools.count()
T = TypeVar("T")


class CreditLife(RuleBasedStateMachine):
    """One customer, and a record whose answers may be lost."""

    database_url = redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = FakeClock(datetime(2026, 3, 29, 20, tzinfo=UTC))
        self.customer = f"spender-{next(_numbers)}"
        self.model = Model()
        self.named: dict[str, tuple[datetime, str, int, Consumption | Hold]] = {}
        self.holds: list[tuple[str, Counted]] = []
        self.core = self.do(self.begin())

    def do(self, steps: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(steps)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def at(self) -> int:
        return ms(self.now)

    async def begin(self) -> Core:
        self.record = await self.stack.enter_async_context(flaky_record(self.database_url))
        core = await self.stack.enter_async_context(
            opened(self.record.url, self.redis_url, self.clock, CATALOG, ())
        )
        await core.changes.upsert_customer(CustomerInput(self.customer), self.now, ACTOR)
        return core

    def key(self) -> str:
        return f"{self.customer}-{next(_numbers)}"

    @rule(
        units=st.integers(1, 30),
        days=st.none() | st.integers(1, 4),
        priority=st.sampled_from((50, 100)),
        features=st.none() | st.sampled_from((frozenset({"claim"}), frozenset({"chat"}))),
    )
    def give(
        self, units: int, days: int | None, priority: int, features: frozenset[str] | None
    ) -> None:
        until = None if days is None else self.now + timedelta(days=days)
        number = next(_numbers)
        self.do(self.given(units, until, priority, features, number))
        self.model.grants.append(Given(priority, until, number, units, features))

    async def given(
        self,
        units: int,
        until: datetime | None,
        priority: int,
        features: frozenset[str] | None,
        number: int,
    ) -> None:
        new = NewGrant(
            await self.core.holders.number(self.customer),
            f"test:{number}",
            Bucket.PROMOTIONAL,
            priority,
            units,
            self.now,
            Why(f"~test:{number}", "a test", ACTOR),
            until,
            None if features is None else frozenset(map(self.core.gate.feature_id, features)),
        )
        async with self.core.database.transaction() as conn:
            await give(conn, [new], self.now)

    @rule(
        feature=st.sampled_from(FEATURES),
        units=st.integers(1, 9),
        named=st.booleans(),
        fault=st.sampled_from((None, None, "refuse", "lose")),
    )
    def consume(self, feature: str, units: int, fault: str | None, *, named: bool) -> None:
        key = self.key() if named or fault else None
        decision = self.do(self.core.gate.check(self.customer, feature, units, self.at))
        asked = self.core.gate.consume
        outcome = None
        if fault:
            getattr(self.record, fault)("credits_charge", 2)
            try:
                outcome = self.do(asked(self.customer, feature, units, key, self.at))
            except Unavailable:
                outcome = None
            self.record.forgive()
        made = self.model.take([(feature, units)], self.now)
        if outcome is None:
            outcome = self.do(asked(self.customer, feature, units, key, self.at))
        assert decision.allowed is (made is not None)
        assert isinstance(outcome, Denied) is (made is None)
        if made is not None and isinstance(outcome, Consumption):
            if outcome.funding is not None:
                assert outcome.funding.charged == made[0].charged
                assert outcome.funding.credits == sum(c for _, c in made[0].paid)
            if key is not None:
                self.named[key] = (self.now, feature, units, outcome)

    @rule(chats=st.integers(1, 6), claims=st.integers(1, 2), calls=st.integers(1, 3))
    def together(self, chats: int, claims: int, calls: int) -> None:
        items = [("chat", chats), ("claim", claims), ("call", calls)]
        made = self.model.take(items, self.now)
        outcome = self.do(
            self.core.gate.consume_together(self.customer, items, self.key(), self.at)
        )
        assert isinstance(outcome, Denied) is (made is None)

    @precondition(lambda self: self.named)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.named)))
        at, feature, units, first = self.named[key]
        if self.now >= at + REPLAY:
            return
        outcome: Consumption | Hold | Denied
        if isinstance(first, Hold):
            outcome = self.do(self.placing(feature, units, key, 600))
        else:
            outcome = self.do(self.core.gate.consume(self.customer, feature, units, key, self.at))
            with pytest.raises(IdempotencyConflict):
                self.do(self.core.gate.consume(self.customer, feature, units + 1, key, self.at))
        assert isinstance(outcome, Consumption | Hold)
        assert (outcome.id, outcome.replayed) == (first.id, True)

    def placing(
        self, feature: str, units: int, key: str | None, seconds: int
    ) -> Coroutine[Any, Any, Hold | Denied]:
        return self.core.holding.place(
            self.customer, feature, units, key, self.at, seconds=seconds, actor=ACTOR
        )

    @rule(
        feature=st.sampled_from(("chat", "chat", "claim")),
        units=st.integers(1, 9),
        named=st.booleans(),
        seconds=st.sampled_from((600, 20_000, 100_000)),
    )
    def place(self, feature: str, units: int, seconds: int, *, named: bool) -> None:
        key = self.key() if named else None
        made = self.model.take([(feature, units)], self.now)
        outcome = self.do(self.placing(feature, units, key, seconds))
        assert isinstance(outcome, Denied) is (made is None)
        if made is not None and isinstance(outcome, Hold):
            (hold,) = made
            hold.open, hold.expires_at = True, self.now + timedelta(seconds=seconds)
            self.holds.append((outcome.id, hold))
            if key is not None and seconds == 600:
                self.named[key] = (self.now, feature, units, outcome)

    @precondition(lambda self: any(hold.open for _, hold in self.holds))
    @rule(data=st.data(), units=st.none() | st.integers(1, 12), final=st.booleans())
    def capture(self, data: st.DataObject, units: int | None, *, final: bool) -> None:
        hold_id, hold = data.draw(st.sampled_from([h for h in self.holds if h[1].open]))
        which = whose(self.customer, hold_id, self.now, self.key())
        asked = self.core.holding.capture
        more = 0 if units is None else max(0, units - hold.held)
        made = self.model.take([(hold.feature, more)], self.now) if more else []
        for replayed in (False, True):
            outcome = self.do(asked(which, units=units, final=final))
            assert isinstance(outcome, Denied) is (made is None)
            if isinstance(outcome, Denied):
                return
            assert outcome.replayed is replayed
        hold.resolve(hold.held if units is None or more else units, ends=final or bool(more))

    @precondition(lambda self: any(hold.open for _, hold in self.holds))
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        hold_id, hold = data.draw(st.sampled_from([h for h in self.holds if h[1].open]))
        self.do(self.core.holding.void(whose(self.customer, hold_id, self.now)))
        hold.resolve(0, ends=True)

    @precondition(lambda self: any(hold.open for _, hold in self.holds))
    @rule(data=st.data(), seconds=st.sampled_from((60, 30_000)))
    def extend(self, data: st.DataObject, seconds: int) -> None:
        hold_id, hold = data.draw(st.sampled_from([h for h in self.holds if h[1].open]))
        until = self.now + timedelta(seconds=seconds)
        steps = self.core.holding.extend(whose(self.customer, hold_id, self.now), seconds)
        if hold.expires_at is not None and until <= hold.expires_at:
            with pytest.raises(InvalidInput):
                self.do(steps)
        else:
            self.do(steps)
            hold.expires_at = until

    @precondition(lambda self: any(not hold.open for _, hold in self.holds))
    @rule(data=st.data())
    def closed(self, data: st.DataObject) -> None:
        hold_id, _ = data.draw(st.sampled_from([h for h in self.holds if not h[1].open]))
        which = whose(self.customer, hold_id, self.now)
        for steps in (self.core.holding.capture(which), self.core.holding.void(which)):
            with pytest.raises(HoldClosed):
                self.do(steps)

    @rule(seconds=st.sampled_from((1, 700, 7_000, 50_000, 100_000)))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)
        due = [h for h in self.holds if h[1].open and (h[1].expires_at or self.now) <= self.now]
        for hold_id, hold in due:
            with pytest.raises(HoldClosed):
                self.do(self.core.holding.capture(whose(self.customer, hold_id, self.now)))
            hold.resolve(0, ends=True)
        self.do(work(self.core, self.now))
        for given in self.model.grants:
            given.available = given.usable(self.now)
        self.do(expiry.expire(self.core.database, self.now))

    @rule(plan=st.sampled_from(sorted(PLANS)))
    def change_plan(self, plan: str) -> None:
        self.do(subscribe(self.core, self.customer, plan, self.now))
        self.model.plan = plan

    @rule()
    def lose_counters(self) -> None:
        self.do(self.lost())

    async def lost(self) -> None:
        await work(self.core, self.now)
        await self.core.door.command("FLUSHALL")

    @invariant()
    def adds_up(self) -> None:
        self.do(self.compare())

    async def compare(self) -> None:
        shown = await self.core.gate.figures(self.customer, FEATURES, self.at)
        for feature in FEATURES:
            windows = shown[feature] or ()
            assert {(w.window.value, w.overage): (w.used, w.held) for w in windows} == {
                (window, overage): (used, held)
                for window, overage, used, held in self.model.windows(feature, self.now)
            }
        number = await self.core.holders.number(self.customer)
        balances = await standing.balances(self.core.database, [number], self.now)
        assert balances[number].available == self.model.balance(self.now)
        held = sum(
            sum(credits_ for _, credits_ in hold.paid) - hold.spent
            for _, hold in self.holds
            if hold.open
        )
        assert balances[number].held == held

    def teardown(self) -> None:
        try:
            self.do(self.agree())
        finally:
            self.do(self.stack.aclose())
            self.runner.close()

    async def agree(self) -> None:
        await work(self.core, self.now)
        for feature in FEATURES:
            mine = [c for c in self.model.counted if c.feature == feature]
            kept = await books(self.core, self.customer, feature)
            assert kept.units == sum(c.in_use for c in mine)
            assert kept.units - kept.charged == sum(c.covered for c in mine)
        spent = sum(
            c.spent if c.expires_at is not None else sum(credits_ for _, credits_ in c.paid)
            for c in self.model.counted
        )
        assert (await books(self.core, self.customer)).spent == spent
        number = await self.core.holders.number(self.customer)
        assert await balance_mismatch(self.core.database, self.now, number) == []
        assert await ledger_sum_mismatch(self.core.database, number) == []
        await agree(self.core, self.customer, self.now)


def test_whatever_is_bought_held_and_lost_the_sums_are_those_of_what_was_accepted(
    database_url: str, redis_url: str
) -> None:
    CreditLife.database_url, CreditLife.redis_url = database_url, redis_url
    run_state_machine_as_test(
        CreditLife,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
