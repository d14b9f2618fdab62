"""What every hot door of the gates does, whatever it is asked.

Straight on ASGI, no request object, no routing, the credential recalled from memory, the body read
into a typed value. Whatever goes wrong is answered in this order: the method, the credential, the
API's own rate limit, the form of the body, its contents, the scope.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

from starlette.types import Receive, Scope, Send

from api.domain.errors import Forbidden, HeadroomError
from api.gates.principal import Principal
from api.infra import telemetry
from api.infra.taskless import in_task
from api.web.access_log import FAILED, failed
from api.web.decision_metrics import DecisionMetrics
from api.web.inputs import MOST_BYTES, Input, Reader
from api.web.opening import opening_of
from api.web.parts import Parts
from api.web.problems import Problem, problem_of
from api.web.wire import (
    CORRELATION,
    JSON,
    ClientGone,
    Form,
    Head,
    HeaderLines,
    MethodNotAllowed,
    Told,
    answer,
    content_length,
    expect_json,
    expect_once,
    head_of,
    read_body,
)

_I = TypeVar("_I", bound=Input)
_BASE: HeaderLines = [
    (b"content-type", JSON),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
OK = Form(200, _BASE)


class Reply(NamedTuple):
    """A whole answer, and how it is counted."""

    form: Form
    lines: HeaderLines
    body: bytes
    outcome: str
    degraded: bool = False


class Door(ABC, Generic[_I]):
    """One of the gates: reads ``kind``, and asks with ``scope``.

    ``tokens``: also for a customer's token of that scope. ``taskless``: it needs no task, or asks
    for one where it does.
    """

    name: str
    scope: str
    tokens = True
    taskless = False
    most_bytes = MOST_BYTES

    def __init__(self, kind: type[_I], parts: Parts) -> None:
        self._reader = Reader(kind)
        self._parts = parts
        self._protection = parts.protection
        self._now_ms = parts.clock.now_ms
        self._metrics = DecisionMetrics(self.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing that goes wrong leaves here but as a problem."""
        said = await self.answer(scope, receive)
        if said is not None:
            await answer(send, said)

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        """Return the answer to one request, None to somebody who has gone.

        ``source`` is its body, or gives it.
        """
        since = perf_counter()
        head = head_of(scope)
        access = self._parts.access
        once, json, correlation, credential, presented, _ = opening_of(head)
        chosen = telemetry.correlate(correlation)
        try:
            if not once or scope["method"] != "POST":
                _expect(scope["method"], head)
            at_ms = self._now_ms()
            principal = None if presented is None else access.recall(presented, at_ms)
            if principal is None:
                await in_task()
                principal = await access.authenticate(credential, at_ms)
                at_ms = self._now_ms()  # that may take its time
            if self._protection.on:
                self._protection.expect(principal.actor, at_ms)
            if not json:
                expect_json(head)
            if isinstance(source, bytes):
                given = self._reader.read(source)
            else:
                given = self._reader.read(await read_body(source, content_length(head), MOST_BYTES))
                at_ms = self._now_ms()  # a body may take its time
            units = self._units(given)
            customer = self._customer(principal, given)
            reply = await self._decide(principal, customer, given, units, head, at_ms)
        except ClientGone:
            return None
        except Exception as error:  # noqa: BLE001 - the edge: every error ends here, bugs masked
            code = error.code if isinstance(error, HeadroomError) else "INTERNAL"
            reply = told(problem_of(error, scope["method"]), code)
            if reply.form.status >= FAILED:
                failed(scope, reply.form.status, since)
        form, lines, body, outcome, degraded = reply
        lines.append((CORRELATION, chosen.encode("latin-1")))
        self._metrics.count(outcome, since, degraded=degraded)
        return form, lines, body

    def _customer(self, principal: Principal, given: _I) -> str:
        """Return for whom it is asked. Raises: Forbidden."""
        principal.expect(self.scope)
        if principal.customer is not None and not self.tokens:
            raise Forbidden("A customer's token does not reach this door.")
        return principal.customer_for(given.customer)

    def _units(self, given: _I) -> int:  # noqa: ARG002 - for doors that are given some
        """Return the units that were given, 0 where none are. Raises: InvalidInput."""
        return 0

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


def _expect(method: str, head: Head) -> None:
    """Go on only with what can be answered here."""
    expect_once(head)
    if method != "POST":
        raise MethodNotAllowed(method, "POST")


def told(problem: Problem, outcome: str, *, degraded: bool = False) -> Reply:
    """Return what is told where something is wrong, counted as ``outcome``."""
    return Reply(problem.form, problem.lines, problem.body, outcome, degraded)
