"""The straight road: one metered feature that the counters alone decide, in one round trip.

Nearly every call is such a one. It goes to the counters without a task or a coroutine of its own,
so that the hundred of a batch leave together; whatever is not simply answered takes the general
road, as if it had never been asked here: nothing was counted then, or it is known by its name.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from functools import partial
from typing import NamedTuple

from api.domain.admission import Action
from api.domain.catalog import MAX_UNITS, Feature
from api.domain.errors import IdempotencyConflict, Unavailable
from api.gates import shadow
from api.gates.denials import explain
from api.gates.expectations import expect_key
from api.gates.features import Features
from api.gates.judge import WORTH_A_ROUND_MS, Judge
from api.gates.outage import Outage
from api.gates.outcome import Consumption, ConsumptionId, Denied
from api.infra.redis import NotSent, OutcomeUnknown
from api.infra.taskless import in_task
from api.metering.counters import Operation, Verdict, figures, read

# Named once: on Python 3.11 each look into an enumeration costs as much as a call.
_CONSUME = Action.CONSUME
_ALLOWED, _REPLAYED = Verdict.ALLOWED, Verdict.REPLAYED


class Asking(NamedTuple):
    """A call on its way to the counters."""

    feature: Feature
    units: int
    operation: Operation
    reply: asyncio.Future[bytes]
    began: float
    """When it was asked, by the event loop's time."""


# Of whole tuples, as every call makes them: naming fields takes longer than the tuple itself.
_asking = partial(tuple.__new__, Asking)
_operation = partial(tuple.__new__, Operation)
_consumption = partial(tuple.__new__, Consumption)


class Straight:
    """Asks and reads; ``None`` is left to the general road."""

    def __init__(self, features: Features, judge: Judge, outage: Outage) -> None:
        self._features = features
        self._judge = judge
        self._outage = outage
        self._prefix = f"~{secrets.token_urlsafe(9)}"
        self._numbers = itertools.count()

    def new_name(self) -> str:
        """Return an operation id for a call that its caller did not name."""
        return f"{self._prefix}{next(self._numbers):x}"

    def ask(
        self, customer: str, feature: str, units: int, key: str | None, at: int
    ) -> Asking | None:
        """Ask; the call is under way when this returns. Raises: InvalidInput."""
        usual = self._features.usual(feature)
        if usual is None or self._outage.owed or not 1 <= units <= MAX_UNITS:
            return None
        items = ((usual.id, units),)
        if key is None:
            operation = _operation((_CONSUME, customer, self.new_name(), items, "", 0, 0, "", ()))
        else:
            expect_key(key)
            kept = usual.replay_ms
            operation = Operation(
                _CONSUME, customer, key, items, fingerprint(_CONSUME, items), kept, kept
            )
        reply = self._judge.submit(operation, at)
        return _asking((usual.feature, units, operation, reply, reply.get_loop().time()))

    def later(self, asking: Asking, at: int) -> int:
        """Return the instant of the general road: a process that is late asks as of now."""
        passed = int((asyncio.get_running_loop().time() - asking.began) * 1000)
        return at + passed if passed >= WORTH_A_ROUND_MS else at

    async def answer(self, asking: Asking, at: int) -> Consumption | Denied | None:
        """Wait for the answer. Raises: IdempotencyConflict; Unavailable, by the outage policy."""
        try:
            raw = await asking.reply
        except Unavailable as lost:
            return await self.lost(asking, lost, at)
        return self.read(asking, raw, at)

    async def lost(self, asking: Asking, lost: Unavailable, at: int) -> Consumption | Denied | None:
        """Return what becomes of a call without an answer. Raises: Unavailable, by that policy."""
        if isinstance(lost, NotSent):
            return None
        if not isinstance(lost, OutcomeUnknown):
            raise lost
        if asking.operation.fingerprint:
            return None
        # Perhaps it was counted, so it must not be asked again.
        await in_task()
        asked = ((asking.feature, asking.units),)
        outcome = await self._outage.consume(asking.operation, asked, at, lost)
        return outcome if isinstance(outcome, Denied) else outcome[0]

    def read(self, asking: Asking, raw: bytes, at: int) -> Consumption | Denied | None:
        """Return what the counters answered. Raises: IdempotencyConflict."""
        feature, units, operation, _, _ = asking
        reply = read(raw)
        verdict = reply.verdict
        if verdict is _ALLOWED or verdict is _REPLAYED:
            if reply.refresh:
                self._judge.refresh(operation.customer, at)
            windows = figures(reply.rows[0])
            replayed = verdict is _REPLAYED
            name = ConsumptionId.opaque(reply.at_ms, 0, operation.operation_id)
            consumption = _consumption(
                (name, operation.customer, feature.key, units, windows, replayed, False, None, None)
            )
            if not replayed:
                for window in windows:
                    if window.shadow:
                        shadow.tell((consumption,))
                        break
            return consumption
        if verdict is Verdict.DENIED:
            if reply.refresh:
                self._judge.refresh(operation.customer, at)
            catalog = self._features.catalog
            # Another catalog may have come since it was asked.
            asked = ((catalog.features.get(feature.key, feature), units),)
            return Denied(explain(catalog, operation.customer, asked, reply, at_s=at // 1000))
        if verdict is Verdict.CONFLICT:
            raise conflict(operation.operation_id)
        return None


def fingerprint(action: Action, items: tuple[tuple[int, int], ...]) -> str:
    """Return what the counters compare where a name comes again."""
    return action.value[0] + ";".join([f"{i}:{units}" for i, units in items])


def conflict(key: str) -> IdempotencyConflict:
    """Return the error of a name that was used for something else."""
    return IdempotencyConflict(
        f"idempotencyKey {key!r} was used for an operation with other contents"
    )
