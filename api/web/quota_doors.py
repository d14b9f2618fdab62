"""``POST /v1/check``, ``/v1/consume`` and ``/v1/release``: the gates over plain HTTP.

These are the hot path: straight on ASGI, no request object, no routing, the credential recalled
from memory, the body read into a typed value. Whatever goes wrong is answered in this order: the
method, the credential, the API's own rate limit, the form of the body, its contents, the scope.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

import orjson
from starlette.types import Receive, Scope, Send

from api.domain.errors import HeadroomError
from api.gates.outcome import Consumption, Denied
from api.gates.principal import Principal
from api.infra import telemetry
from api.web.answers import consumption_body, decision_facts
from api.web.decision_metrics import GRANTED, DecisionMetrics
from api.web.inputs import (
    MOST_BYTES,
    CheckInput,
    ConsumeInput,
    Reader,
    ReleaseInput,
    named_operation,
    whole_units,
)
from api.web.parts import Parts
from api.web.problems import Problem, denied, problem_of
from api.web.ratelimit_fields import fields_of
from api.web.wire import (
    JSON,
    ClientGone,
    Head,
    HeaderLines,
    MethodNotAllowed,
    answer,
    expect_json,
    read_body,
    read_head,
)

_I = TypeVar("_I", bound=CheckInput)
_BASE: HeaderLines = [
    (b"content-type", JSON),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_OK = 200


class Reply(NamedTuple):
    """A whole answer, and how it is counted."""

    status: int
    lines: HeaderLines
    body: bytes
    outcome: str
    degraded: bool = False


class Door(ABC, Generic[_I]):
    """One of the gates: reads ``kind``, and asks with ``scope``."""

    name: str
    scope: str

    def __init__(self, kind: type[_I], parts: Parts) -> None:
        self._reader = Reader(kind)
        self._parts = parts
        self._protection = parts.protection
        self._metrics = DecisionMetrics(self.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing that goes wrong leaves here but as a problem."""
        since = perf_counter()
        correlation_id = ""
        try:
            head = read_head(scope["headers"])
            given = head.correlation_id
            correlation_id = telemetry.correlate(given.decode("latin-1") if given else None)
            reply = await self._reply(scope["method"], head, receive)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: every error ends here, bugs masked
            code = error.code if isinstance(error, HeadroomError) else "INTERNAL"
            reply = _told(problem_of(error, scope["method"]), code)
        correlation_id = correlation_id or telemetry.correlate()
        reply.lines.append((b"x-correlation-id", correlation_id.encode("latin-1")))
        self._metrics.count(reply.outcome, since, degraded=reply.degraded)
        await answer(send, reply.status, reply.lines, reply.body)

    async def _reply(self, method: str, head: Head, receive: Receive) -> Reply:
        if method != "POST":
            raise MethodNotAllowed(method, "POST")
        at_ms = int(self._parts.clock.now().timestamp() * 1000)
        access = self._parts.access
        principal = None
        if head.authorization is not None:
            principal = access.recall(head.authorization, at_ms)
        if principal is None:
            principal = await access.authenticate(head.authorization, at_ms)
        if self._protection.on:
            self._protection.expect(principal.actor, at_ms)
        expect_json(head)
        given = self._reader.read(await read_body(receive, head.content_length, MOST_BYTES))
        units = whole_units(given.units)
        principal.expect(self.scope)
        customer = principal.customer_for(given.customer)
        return await self._decide(principal, customer, given, units, head, at_ms)

    @abstractmethod
    async def _decide(
        self,
        principal: Principal,
        customer: str,
        given: _I,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        """Answer the question that was read. Raises: HeadroomError."""


class CheckDoor(Door[CheckInput]):
    """May this customer do this now? Counts nothing."""

    name = "check"
    scope = "check"

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
            return _told(denied(decision, at_s), decision.code or "", degraded=decision.degraded)
        body = orjson.dumps(decision_facts(decision))
        lines = _lines(body, fields_of(given.feature, decision.windows, at_s))
        return Reply(_OK, lines, body, GRANTED, decision.degraded)


class ConsumeDoor(Door[ConsumeInput]):
    """Judge and count in one step."""

    name = "consume"
    scope = "consume"

    async def _decide(
        self,
        principal: Principal,  # noqa: ARG002 - every door gets the same
        customer: str,
        given: ConsumeInput,
        units: int,
        head: Head,
        at_ms: int,
    ) -> Reply:
        key = given.idempotency_key
        if head.idempotency_key is not None:
            key = named_operation(head.idempotency_key, key)
        outcome = await self._parts.gate.consume(customer, given.feature, units, key, at_ms)
        if isinstance(outcome, Denied):
            decision = outcome.decisions[0]
            problem = denied(decision, at_ms // 1000)
            return _told(problem, decision.code or "", degraded=decision.degraded)
        return _counted(outcome, at_ms)


class ReleaseDoor(Door[ReleaseInput]):
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
        key = named_operation(head.idempotency_key, given.idempotency_key)
        gate = self._parts.gate
        if principal.customer is not None:
            principal.expect_release((await gate.feature(given.feature)).kind)
        if given.consumption_id is None:
            released = await gate.release(customer, given.feature, units, key, at_ms)
        else:
            released = await self._parts.releases.release(
                customer, given.feature, units, given.consumption_id, key, at_ms
            )
        return _counted(released, at_ms)


def _counted(consumption: Consumption, at_ms: int) -> Reply:
    body = consumption_body(consumption)
    fields = fields_of(consumption.feature, consumption.windows, at_ms // 1000)
    return Reply(_OK, _lines(body, fields), body, GRANTED, consumption.degraded)


def _lines(body: bytes, more: HeaderLines) -> HeaderLines:
    return [*_BASE, (b"content-length", str(len(body)).encode()), *more]


def _told(problem: Problem, outcome: str, *, degraded: bool = False) -> Reply:
    return Reply(problem.status, problem.lines, problem.body, outcome, degraded)
