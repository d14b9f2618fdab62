"""The decision: judge and count in one step.

Failure policy: with the counters out of reach each feature's outage policy answers; with the
record out of reach fast features go on and journaled ones are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from api.domain.admission import COUNTED_KINDS, Action
from api.domain.catalog import (
    Durability,
    Feature,
    FeatureKind,
)
from api.domain.decision import Decision, WindowFigure, allow
from api.domain.errors import HeadroomError, InvalidInput, Unavailable
from api.gates.answered import consumed, paid
from api.gates.charging import Charging
from api.gates.denials import explain
from api.gates.each import Each
from api.gates.expectations import MOST_ITEMS, expect_key, expect_units, not_counted
from api.gates.features import Features, Revisions
from api.gates.judge import CountersLost, Judge
from api.gates.lacking import Lacking
from api.gates.outage import Outage
from api.gates.outcome import PRODUCT, ConsumeRequest, Consumption, Denied
from api.gates.straight import Straight, conflict, fingerprint
from api.gates.taken import Asked, Call, check_of
from api.gates.windows_now import windows_now
from api.infra.taskless import in_task
from api.metering.counters import Operation, Reply, Verdict, figures

REPLAY_HERE_MS = 600_000
"""Longest time for which the counter store keeps an answer that the record can be asked for."""


class Answers(Protocol):
    """Answers of named operations that only the record still has."""

    async def find(self, customer: str, operation_id: str, at_ms: int) -> Reply | None:
        """Return the recorded answer, its fingerprint in ``entry``; None if there is none."""
        ...


class Gate:
    """Decisions on metered features and allocations, and the figures behind them."""

    def __init__(
        self,
        revisions: Revisions,
        judge: Judge,
        outage: Outage,
        answers: Answers,
        charging: Charging,
        lacking: Lacking,
    ) -> None:
        self._charging = charging
        self._lacking = lacking
        self._features = Features(revisions)
        self._judge = judge
        self._outage = outage
        self._answers = answers
        self._straight = Straight(self._features, judge, outage)
        self._each = Each(self._straight, self._generally)

    async def consume(
        self,
        customer: str,
        feature: str,
        units: int,
        key: str | None,
        at: int,
        actor: str = PRODUCT,
    ) -> Consumption | Denied:
        """Judge and count ``units``; ``at`` is the instant in ms since 1970.

        Raises: UnknownCustomer, UnknownFeature, InvalidInput, IdempotencyConflict, Unavailable.
        Cost: one round trip to the counters; a journaled feature waits for a commit as well.
        """
        asking = self._straight.ask(customer, feature, units, key, at)
        if asking is not None:
            # What ``answer`` of the straight road does, without a coroutine more in the usual case.
            try:
                raw = await asking.reply
            except Unavailable as lost:
                answer = await self._straight.lost(asking, lost, at)
            else:
                answer = self._straight.read(asking, raw, at)
            if answer is not None:
                return answer
            at = self._straight.later(asking, at)
        await in_task()
        outcome = await self._consume(customer, ((feature, units),), key, at, actor)
        return outcome if isinstance(outcome, Denied) else outcome[0]

    async def consume_together(
        self,
        customer: str,
        items: Sequence[tuple[str, int]],
        key: str | None,
        at: int,
        actor: str = PRODUCT,
    ) -> tuple[Consumption, ...] | Denied:
        """Judge and count several features, all or nothing. Raises and costs as ``consume``."""
        if not items:
            raise InvalidInput("items must name at least one feature")
        if len(items) > MOST_ITEMS:
            raise InvalidInput(f"at most {MOST_ITEMS} items go together, not {len(items)}")
        return await self._consume(customer, tuple(items), key, at, actor)

    async def consume_each(
        self, inputs: Sequence[ConsumeRequest], at: int
    ) -> list[Consumption | Denied | HeadroomError]:
        """Judge and count independent items, outcomes in order; they travel together."""
        if len(inputs) > MOST_ITEMS:
            raise InvalidInput(f"at most {MOST_ITEMS} items go in one batch, not {len(inputs)}")
        return await self._each.consume(inputs, at)

    async def check(self, customer: str, feature: str, units: int, at: int) -> Decision:
        """Answer what ``consume`` would, and count nothing.

        Raises: UnknownCustomer, UnknownFeature, InvalidInput, Unavailable.
        """
        known = await self._features.get(feature)
        expect_units(units)
        cost = self._features.catalog.costs.get(feature)
        call = Call(customer, (Asked(known, self._features.id_of(feature), units, cost),), None, at)
        operation = check_of(call)
        try:
            reply = await self._judge.ask(operation, at, journaled=False)
        except CountersLost:
            await in_task()
            return await self._outage.check(customer, known, units, at)
        if cost is not None:
            await in_task()
            return await self._lacking.check(call, reply)
        if reply.verdict is Verdict.DENIED:
            return self._denied(customer, ((known, units),), reply, at)[0]
        return allow(customer, feature, units, figures(reply.rows[0]))

    async def release(
        self, customer: str, feature: str, units: int, key: str | None, at: int
    ) -> Consumption:
        """Give back units of an allocation, or of a metered feature's present windows.

        Raises: InvalidInput below zero; as ``consume`` else. What a named consumption took is
        given back by ``Releases.release``.
        """
        if feature in self._features.catalog.costs:
            raise InvalidInput(
                f"{feature} costs credits: give back by consumptionId, which says who paid for what"
            )
        return await self._count(Action.RELEASE, customer, feature, units, key, at)

    async def release_as(
        self, name: str, customer: str, feature: str, units: int, at: int
    ) -> Consumption:
        """Give back as ``release``, under a name of our own: it begins with ~, no caller's does."""
        return await self._count(Action.RELEASE, customer, feature, units, name, at, own=True)

    async def state(
        self, customer: str, feature: str, units: int, key: str | None, at: int
    ) -> Consumption:
        """State how many units of an allocation are in use, 0 or more, also above its limit."""
        if (await self._features.get(feature)).kind is not FeatureKind.ALLOCATION:
            raise InvalidInput(f"{feature} is not an allocation; only those can be stated")
        return await self._count(Action.STATE, customer, feature, units, key, at)

    async def figures(
        self, customer: str, features: Sequence[str], at: int
    ) -> dict[str, tuple[WindowFigure, ...] | None]:
        """Return the windows of each feature as they stand; None where it is not granted.

        What is still held of an allocation that is not granted any more is shown.

        Raises: UnknownCustomer, UnknownFeature, Unavailable. Cost: one round trip per 100.
        """
        return await windows_now(self._features, self._judge, customer, features, at)

    async def catch_up(self, customer: str) -> None:
        """Settle what passed blind in this process, if this customer's counters are back."""
        await self._outage.catch_up(customer)

    async def feature(self, key: str) -> Feature:
        """Return the feature of that key in the newest catalog. Raises: UnknownFeature."""
        return await self._features.get(key)

    def feature_id(self, feature: str) -> int:
        """Return the number that stands for a feature of the newest catalog."""
        return self._features.id_of(feature)

    def feature_key(self, feature_id: int) -> str:
        """Return the feature that a number stands for. Raises: UnknownFeature."""
        return self._features.key_of(feature_id)

    async def _generally(self, item: ConsumeRequest, at: int) -> Consumption | Denied:
        items = ((item.feature, item.units),)
        outcome = await self._consume(item.customer, items, item.key, at, item.actor)
        return outcome if isinstance(outcome, Denied) else outcome[0]

    async def _consume(
        self,
        customer: str,
        items: tuple[tuple[str, int], ...],
        key: str | None,
        at: int,
        actor: str,
    ) -> tuple[Consumption, ...] | Denied:
        """Consume by the counters alone, or together with credits where any feature costs some."""
        costs = self._features.catalog.costs
        if not costs or not any(feature in costs for feature, _ in items):
            decided = await self._decide(Action.CONSUME, customer, items, key, at)
            if decided is not None:
                return decided
        call = await self.call(customer, items, key, at, actor)
        taken = await self._charging.take(call)
        return taken if isinstance(taken, Denied) else paid(call, taken)

    async def call(
        self,
        customer: str,
        items: Sequence[tuple[str, int]],
        key: str | None,
        at: int,
        actor: str = PRODUCT,
    ) -> Call:
        """Return what is asked, with its prices. Raises: UnknownFeature, InvalidInput."""
        asked = []
        for name, units in items:
            feature = await self._countable(name, units)
            cost = self._features.catalog.costs.get(name)
            asked.append(Asked(feature, self._features.id_of(name), units, cost))
        if key is not None:
            expect_key(key)
        return Call(customer, tuple(asked), key, at, actor)

    async def _countable(self, name: str, units: int, least: int = 1) -> Feature:
        """Return a feature of which so many units can be counted.

        Raises: UnknownFeature, InvalidInput.
        """
        feature = await self._features.get(name)
        expect_units(units, least=least)
        if feature.kind not in COUNTED_KINDS:
            raise not_counted(feature)
        return feature

    async def _count(
        self,
        action: Action,
        customer: str,
        feature: str,
        units: int,
        key: str | None,
        at: int,
        *,
        own: bool = False,
    ) -> Consumption:
        outcome = await self._decide(action, customer, ((feature, units),), key, at, own=own)
        if outcome is None:
            raise conflict(key or "")
        if isinstance(outcome, Denied):
            raise InvalidInput(outcome.decisions[0].message or f"{feature} is not granted")
        return outcome[0]

    async def _decide(
        self,
        action: Action,
        customer: str,
        items: tuple[tuple[str, int], ...],
        key: str | None,
        at: int,
        *,
        own: bool = False,
    ) -> tuple[Consumption, ...] | Denied | None:
        """Return what the counters decide; None: the key is of a call that credits took part in."""
        asked = [
            (await self._countable(name, units, least=0 if action is Action.STATE else 1), units)
            for name, units in items
        ]
        journaled = any(_journaled(f) for f, _ in asked)
        if key is not None and not own:
            expect_key(key)
        operation = self._operation(action, customer, asked, key)
        if key is not None and journaled:
            known = await self._recorded(customer, asked, operation, at)
            if known is not None:
                return known
        await self._outage.catch_up(customer)
        try:
            reply = await self._judge.ask(operation, at, journaled=journaled)
        except CountersLost as lost:
            if action is not Action.CONSUME:
                raise Unavailable(lost.message) from lost
            return await self._outage.consume(operation, asked, at, lost)
        if reply.verdict is Verdict.CONFLICT:
            raise conflict(key or "")
        if reply.verdict is Verdict.DENIED:
            return Denied(self._denied(customer, asked, reply, at))
        if reply.verdict is Verdict.PENDING:
            return None
        return consumed(
            customer, asked, reply, operation, replayed=reply.verdict is Verdict.REPLAYED
        )

    async def _recorded(
        self, customer: str, asked: Sequence[tuple[Feature, int]], operation: Operation, at: int
    ) -> tuple[Consumption, ...] | None:
        """Return the answer that only the record still has. Raises: IdempotencyConflict."""
        known = await self._answers.find(customer, operation.operation_id, at)
        if known is None:
            return None
        if known.entry != operation.fingerprint:
            raise conflict(operation.operation_id)
        return consumed(customer, asked, known, operation, replayed=True)

    def _operation(
        self, action: Action, customer: str, asked: Sequence[tuple[Feature, int]], key: str | None
    ) -> Operation:
        ids = tuple((self._features.id_of(feature.key), units) for feature, units in asked)
        if key is None:
            return Operation(action, customer, self._straight.new_name(), ids)
        record_ms = min(feature.replay_seconds for feature, _ in asked) * 1000
        recorded = any(_journaled(feature) for feature, _ in asked)
        here_ms = min(record_ms, REPLAY_HERE_MS) if recorded else record_ms
        contents = fingerprint(action, ids)
        return Operation(action, customer, key, ids, contents, here_ms, record_ms)

    def _denied(
        self, customer: str, asked: Sequence[tuple[Feature, int]], reply: Reply, at: int
    ) -> tuple[Decision, ...]:
        return explain(self._features.catalog, customer, asked, reply, at_s=at // 1000)


def _journaled(feature: Feature) -> bool:
    """Tell whether an answer waits for the record.

    A catalog with a lifetime limit on a feature that is not journaled is refused when it is read.
    """
    return feature.durability is Durability.JOURNALED or feature.kind is FeatureKind.ALLOCATION
