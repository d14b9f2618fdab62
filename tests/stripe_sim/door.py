"""From a request to an answer: faults, key, idempotency, the function, what is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.stripe_sim.checking import Misshapen, check
from tests.stripe_sim.errors import Refused
from tests.stripe_sim.expanding import shown
from tests.stripe_sim.faults import Cut, Fault, Faults, failure
from tests.stripe_sim.idempotency import Idempotency
from tests.stripe_sim.params import decoded
from tests.stripe_sim.routes import Asked, answering
from tests.stripe_sim.world import World

Json = dict[str, Any]

KEY = "sk_test_" + "b" * 24

BUGS = (Misshapen, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Request:
    """One request as it came; ``text`` is the query or the form."""

    method: str
    path: str
    text: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Status, body and headers."""

    status: int
    body: Json
    headers: dict[str, str]


class Door:
    """Answers requests, one after the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.key = KEY
        self.faults = Faults(world.time)
        self.keys = Idempotency(world.time)
        self.requests: list[Request] = []
        self.bugs: list[Exception] = []
        self._numbers = count(1)

    def answer(self, request: Request) -> Answer:
        """Return the answer. Raises: Cut, where the connection is closed without one."""
        self.requests.append(request)
        headers = {"Request-Id": f"req_{next(self._numbers):08}"}
        try:
            after = self.faults.meet(request.method, request.path)
            self.world.time.catch_up()
            self._require_key(request)
            status, body, more = self._worked(request, headers["Request-Id"], after)
        except Refused as refused:
            status, body, more = refused.status, refused.body, refused.headers
        except BUGS as bug:
            # A mistake of the simulation: the test fails when it leaves the simulation.
            self.bugs.append(bug)
            status, body, more = 500, {"error": {"type": "api_error", "message": repr(bug)}}, {}
        return Answer(status, body, headers | more)

    def _require_key(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise Refused("Invalid API Key provided.", status=401)

    def _worked(
        self, request: Request, request_id: str, fault: Fault | None
    ) -> tuple[int, Json, dict[str, str]]:
        params = decoded(request.text)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is not None and (kept := self.keys.begin(key, request.path, params)) is not None:
            return *kept, {"Idempotent-Replayed": "true"}
        cause = {"id": request_id, "idempotency_key": key}
        if request.method == "GET":
            cause = {"id": None, "idempotency_key": None}
        try:
            status, body = self._called(request, params, cause)
        except Refused as refused:
            if key is not None:
                self._keep_refusal(key, refused)
            raise
        except BaseException:
            if key is not None:
                self.keys.give_up(key)
            raise
        if fault is not None:
            raise self._failed_after(fault, key, (status, body))
        if key is not None:
            self.keys.end(key, status, body)
        return status, body, {}

    def _failed_after(self, fault: Fault, key: str | None, done: tuple[int, Json]) -> Exception:
        """Keep what the key answers from now on: a 500 of Stripe's own is kept and replayed."""
        failed = failure(fault)
        if key is not None:
            kept = (failed.status, failed.body) if isinstance(failed, Refused) else done
            self.keys.end(key, *kept)
        return failed

    def _called(self, request: Request, params: Json, cause: Json) -> tuple[int, Json]:
        function, ids = answering(request.method, request.path)
        paths = params.pop("expand", []) or []
        self.world.events.cause = cause
        try:
            answer = function(Asked(self.world, ids, dict(params)))
        finally:
            self.world.events.cause = {"id": None, "idempotency_key": None}
            if paths:
                params["expand"] = paths
        body = shown(self.world, answer, [paths] if isinstance(paths, str) else paths)
        if body.get("object") not in ("list", "search_result"):
            check(body)
        return 200, body

    def _keep_refusal(self, key: str, refused: Refused) -> None:
        if refused.status in (402, 500):
            self.keys.end(key, refused.status, refused.body)
        else:
            self.keys.give_up(key)


__all__ = ["Answer", "Cut", "Door", "Request"]
