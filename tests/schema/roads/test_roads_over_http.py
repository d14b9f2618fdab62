"""Over HTTP one road cannot be told from the other by status, headers or body."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from api.gates.principal import Principal
from api.schema.execution import Executor
from api.wiring import graphql as wiring
from api.wiring.payments import stripe_of
from tests.schema.roads.both_roads import BugsTold, ordered
from tests.schema.roads.cases import Case, cases
from tests.schema.roads.documents import DocumentWriter
from tests.schema.roads.scripted_schema import Stage, scripted_schema
from tests.support.clock import FakeClock
from tests.support.graphql import Api, served

CASES = 400
_ACCEPTED = (
    "application/graphql-response+json",
    "application/json",
    "application/graphql-response+json, application/json;q=0.9",
    "*/*",
    "text/html",
)


@dataclass
class Doors:
    """One installation behind two doors, one for each road."""

    stage: Stage
    bugs: BugsTold
    api: Api
    general: httpx.AsyncClient


@pytest.fixture
async def doors(
    database_url: str, redis_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Doors]:
    with scripted_schema() as stage, BugsTold.kept() as bugs:
        async with AsyncExitStack() as stack:
            monkeypatch.setattr(wiring, "Executor", partial(Executor, uses=0))
            api = await stack.enter_async_context(served(database_url, redis_url, clock))
            monkeypatch.setattr(wiring, "Executor", partial(Executor, compiled=False))
            general = await stack.enter_async_context(_general_door(api))
            yield Doors(stage, bugs, api, general)


@asynccontextmanager
async def _general_door(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with stripe_of(api.core.settings) as stripe:
        app = wiring.graphql_of(api.core, api.access, api.inbox, stripe=stripe)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://headroom") as http:
            yield http


async def test_both_roads_answer_alike_over_http(doors: Doors) -> None:
    writer = DocumentWriter(doors.stage.schema._schema)  # noqa: SLF001 - it has no public name
    rng = Random(0)  # noqa: S311 - chances, no secrets
    credentials: dict[str, str] = {}
    statuses: set[int] = set()
    for case in cases(writer, 1_000, CASES):
        headers = {"accept": rng.choice(_ACCEPTED)}
        credential = await _credential(doors.api, case.principal, credentials)
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        one = await _send(doors, doors.general, case, headers)
        other = await _send(doors, doors.api.http, case, headers)
        assert one == other, case
        statuses.add(one[0])
    assert statuses >= {200, 400, 405, 406}


async def _send(doors: Doors, http: httpx.AsyncClient, case: Case, headers: dict[str, str]) -> Any:  # noqa: ANN401
    """Return what is to be the same: status, headers, and the body with the order of its keys."""
    # Time is real here, so nothing waits for an instant.
    doors.stage.open(case.seed, replace(case.temper, slow=0.0), None)
    doors.bugs.lines = []
    if case.request.safe:
        parameters = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in _body(case).items()
        }
        response = await http.get("/graphql", params=parameters, headers=headers)
    else:
        headers = {**headers, "content-type": "application/json"}
        content = json.dumps(_body(case)).encode()
        response = await http.post("/graphql", content=content, headers=headers)
    # Each request has a correlation id of its own.
    lines = sorted(line for line in response.headers.items() if line[0] != "x-correlation-id")
    return (
        response.status_code,
        lines,
        ordered(orjson.loads(response.content)),
    )


def _body(case: Case) -> dict[str, Any]:
    request = case.request
    digest = request.digest
    persisted = None if digest is None else {"version": 1, "sha256Hash": digest}
    parts = {
        "query": request.query,
        "operationName": request.operation_name,
        "variables": request.variables,
        "extensions": None if persisted is None else {"persistedQuery": persisted},
    }
    return {name: value for name, value in parts.items() if value is not None}


async def _credential(api: Api, principal: Principal | None, known: dict[str, str]) -> str | None:
    """Return a real credential of such a caller."""
    if principal is None:
        return None
    name = f"{principal.actor} {sorted(principal.scopes)}"
    if name not in known:
        if principal.customer is None:
            known[name] = await api.key(principal.name)
        else:
            known[name] = api.token(principal.customer, sorted(principal.scopes))
    return known[name]
