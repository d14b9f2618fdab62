"""``POST /v1/hold``, ``/v1/capture``, ``/v1/void`` and ``/v1/extend``: holds over plain HTTP.

For services only: a customer's token never gives back what was used.
"""

from __future__ import annotations

from typing import TypeVar

from api.gates.held import Hold, Whose
from api.gates.outcome import Denied
from api.gates.principal import Principal
from api.web.answers import hold_body
from api.web.decision_metrics import GRANTED
from api.web.door import OK, Door, Reply, told
from api.web.inputs import (
    CaptureInput,
    ExtendInput,
    PlaceInput,
    VoidInput,
    named_operation,
    whole_units,
)
from api.web.problems import denied
from api.web.ratelimit_fields import fields_and_json
from api.web.wire import IDEMPOTENCY_KEY, Head

_V = TypeVar("_V", bound=VoidInput)


class PlaceDoor(Door[PlaceInput]):
    """Set units aside: they count at once."""

    name = "hold"
    scope = "consume"
    tokens = False

    def _units(self, given: PlaceInput) -> int:
        return whole_units(given.units)

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: PlaceInput,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        outcome = await self._parts.holding.place(
            customer,
            given.feature,
            units,
            named_operation(head.get(IDEMPOTENCY_KEY), given.idempotency_key),
            at_ms,
            seconds=given.seconds,
            actor=principal.actor,
        )
        return _answered(outcome, at_ms)


class _ChangeDoor(Door[_V]):
    """One that changes a hold."""

    scope = "consume"
    tokens = False

    @staticmethod
    def _whose(principal: Principal, customer: str, given: _V, head: Head, at_ms: int) -> Whose:
        key = named_operation(head.get(IDEMPOTENCY_KEY), given.idempotency_key)
        return Whose(customer, given.hold_id, key, at_ms, principal.actor)


class CaptureDoor(_ChangeDoor[CaptureInput]):
    """Take units of a hold for good."""

    name = "capture"

    def _units(self, given: CaptureInput) -> int:
        return 0 if given.units is None else whole_units(given.units)

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: CaptureInput,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        whose = self._whose(principal, customer, given, head, at_ms)
        captured = await self._parts.holding.capture(whose, units=units or None, final=given.final)
        return _answered(captured, at_ms)


class VoidDoor(_ChangeDoor[VoidInput]):
    """Give back all that a hold holds."""

    name = "void"

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: VoidInput,
        units: int,  # noqa: ARG002 - every door gets the same
        head: Head,
        at_ms: int,
    ) -> Reply:
        whose = self._whose(principal, customer, given, head, at_ms)
        return _answered(await self._parts.holding.void(whose), at_ms)


class ExtendDoor(_ChangeDoor[ExtendInput]):
    """Let a hold stand longer."""

    name = "extend"

    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: ExtendInput,
        units: int,  # noqa: ARG002 - every door gets the same
        head: Head,
        at_ms: int,
    ) -> Reply:
        whose = self._whose(principal, customer, given, head, at_ms)
        return _answered(await self._parts.holding.extend(whose, given.seconds), at_ms)


def _answered(outcome: Hold | Denied, at_ms: int) -> Reply:
    at_s = at_ms // 1000
    if isinstance(outcome, Denied):
        decision = outcome.decisions[0]
        return told(denied(decision, at_s), decision.code or "", degraded=decision.degraded)
    fields, windows = fields_and_json(outcome.feature, outcome.windows, at_s)
    body = hold_body(outcome, windows)
    return Reply(OK, fields, body, GRANTED)
