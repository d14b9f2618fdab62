"""``POST /v1/check``, ``/v1/consume`` and ``/v1/release``: the gates over plain HTTP."""

from __future__ import annotations

from typing import TypeVar

import orjson

from api.gates.outcome import Consumption, Denied
from api.gates.principal import Principal
from api.web.answers import consumption_body, decision_facts
from api.web.decision_metrics import GRANTED
from api.web.door import OK, Door, Reply, told
from api.web.inputs import (
    CheckInput,
    ConsumeInput,
    ReleaseInput,
    named_operation,
    whole_units,
)
from api.web.problems import denied
from api.web.ratelimit_fields import fields_and_json
from api.web.wire import IDEMPOTENCY_KEY, Head

_Q = TypeVar("_Q", bound=CheckInput)


class QuotaDoor(Door[_Q]):
    """One that is asked about units of a feature."""

    def _units(self, given: _Q) -> int:
        return whole_units(given.units)


class CheckDoor(QuotaDoor[CheckInput]):
    """May this customer do this now? Counts nothing."""

    name = "check"
    scope = "check"
    taskless = True

    async def _decide(
        self,
        principal: Principal,  # noqa: ARG002 - every door gets the same
        customer: str,
        given: CheckInput,
        units: int,
        head: Head,  # noqa: ARG002 - likewise
        at_ms: int,
    ) -> Reply:
        decision = await self._parts.gate.check(customer, given.feature, units, at_ms)
        at_s = at_ms // 1000
        if not decision.allowed:
            return told(denied(decision, at_s), decision.code or "", degraded=decision.degraded)
        fields, windows = fields_and_json(given.feature, decision.windows, at_s)
        body = orjson.dumps(decision_facts(decision, windows))
        return Reply(OK, fields, body, GRANTED, decision.degraded)


class ConsumeDoor(QuotaDoor[ConsumeInput]):
    """Judge and count in one step."""

    name = "consume"
    scope = "consume"
    taskless = True

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: ConsumeInput,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        key = given.idempotency_key
        if IDEMPOTENCY_KEY in head:
            key = named_operation(head[IDEMPOTENCY_KEY], key)
        outcome = await self._parts.gate.consume(
            customer, given.feature, units, key, at_ms, principal.actor
        )
        if isinstance(outcome, Denied):
            decision = outcome.decisions[0]
            problem = denied(decision, at_ms // 1000)
            return told(problem, decision.code or "", degraded=decision.degraded)
        return _counted(outcome, at_ms)


class ReleaseDoor(QuotaDoor[ReleaseInput]):
    """Give back an allocation, or usage counted by mistake."""

    name = "release"
    scope = "consume"

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: ReleaseInput,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        key = named_operation(head.get(IDEMPOTENCY_KEY), given.idempotency_key)
        gate = self._parts.gate
        if principal.customer is not None:
            principal.expect_release((await gate.feature(given.feature)).kind)
        if given.consumption_id is None:
            released = await gate.release(customer, given.feature, units, key, at_ms)
        else:
            released = await self._parts.releases.release(
                customer,
                given.feature,
                units,
                given.consumption_id,
                key,
                at_ms,
                actor=principal.actor,
            )
        return _counted(released, at_ms)


def _counted(consumption: Consumption, at_ms: int) -> Reply:
    fields, windows = fields_and_json(consumption.feature, consumption.windows, at_ms // 1000)
    body = consumption_body(consumption, windows)
    return Reply(OK, fields, body, GRANTED, consumption.degraded)
