"""What surrounds every answer: correlation, safe headers, and errors that leak nothing."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from api.gates.access import Access, Principal
from api.infra.telemetry import correlation_id
from api.web.edge import Edge
from api.web.graphql import GraphQLApp
from api.web.protection import Protection
from api.wiring.graphql import graphql_of
from api.wiring.payments import inbox_of, stripe_of
from tests.support.clock import FakeClock
from tests.support.site import Site

ASKED = {"customer": "acme", "feature": "calls"}
PATHS = ("/v1/check", "/healthz", "/nowhere")


class Broken:
    """A part with a bug in it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise ZeroDivisionError(f"postgresql://user:hunter2@db/{name}")


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ZeroDivisionError("postgresql://user:hunter2@db")


async def broken_halfway(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError("halfway")


async def test_a_callers_correlation_id_comes_back_and_a_strange_one_is_replaced(
    site: Site,
) -> None:
    for path in PATHS:
        ours = await site.post(path, ASKED, headers={"X-Correlation-Id": "trace-1.a:b"})
        assert ours.headers["x-correlation-id"] == "trace-1.a:b"
        for strange in ("a b", "x" * 65, "é".encode()):
            answered = await site.post(path, ASKED, headers={"X-Correlation-Id": strange})
            assert answered.headers["x-correlation-id"].isalnum()


async def test_two_requests_never_share_a_correlation_id(site: Site) -> None:
    given = [(await site.post(path, ASKED)).headers["x-correlation-id"] for path in PATHS * 3]
    assert len(set(given)) == len(given)


async def test_the_correlation_id_holds_for_all_that_a_request_does(site: Site) -> None:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        said = await asyncio.create_task(asyncio.sleep(0, correlation_id()))
        await PlainTextResponse(said)(scope, receive, send)

    shown = await site.rebuilt(graphql=Edge(told)).post("/graphql", {})
    assert shown.text == shown.headers["x-correlation-id"]


async def test_no_answer_is_kept_framed_or_guessed(site: Site) -> None:
    for path in PATHS:
        headers = (await site.post(path, ASKED)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    headers = (await site.client.get("/healthz")).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/v1/check", "/v1/consume", "/v1/release", "/graphql"])
async def test_a_bug_tells_an_error_id_and_nothing_else(
    site: Site, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = site.rebuilt(gate=Broken(), graphql=Edge(broken))
    with caplog.at_level(logging.ERROR):
        answered = await faulty.post(path, ASKED)
    said = answered.json()
    assert (answered.status_code, said["code"], said["title"]) == (500, "INTERNAL", "Internal")
    assert answered.headers["content-type"] == "application/problem+json"
    for secret in ("hunter2", "ZeroDivision", "postgresql", "Traceback"):
        assert secret not in answered.text
    assert said["errorId"] in said["detail"]
    assert said["errorId"] in caplog.text
    assert "hunter2" in caplog.text


async def test_the_graphql_door_sees_to_the_same_by_itself(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    faulty: Any = Broken()
    door = GraphQLApp(faulty, faulty, site.parts.clock, Protection(0, 0), development=True)
    with caplog.at_level(logging.ERROR):
        answered = await site.rebuilt(graphql=door).post(
            "/graphql", {"query": "{ __typename }"}, headers={"X-Correlation-Id": "trace-2"}
        )
    assert (answered.status_code, answered.json()["code"]) == (500, "INTERNAL")
    assert "hunter2" not in answered.text
    assert "hunter2" in caplog.text
    assert answered.headers["x-correlation-id"] == "trace-2"
    for name in ("cache-control", "x-frame-options", "referrer-policy", "x-content-type-options"):
        assert name in answered.headers


async def test_a_bug_after_the_answer_began_cannot_begin_another(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": []}
    await site.rebuilt(graphql=Edge(broken_halfway)).app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_request_in_pieces_is_put_together(site: Site) -> None:
    said = orjson.dumps(ASKED)
    answered = await ask_raw(site, [said[:5], said[5:9], said[9:]])
    assert answered[0]["status"] == 200


async def test_a_body_that_grows_too_large_is_refused_before_its_end(site: Site) -> None:
    answered = await ask_raw(site, [b"x" * 10_000, b"x" * 10_000, b"never read"])
    assert answered[0]["status"] == 413


@pytest.mark.parametrize("pieces", [[], [b'{"customer"']])
async def test_a_caller_that_hangs_up_is_answered_nothing(site: Site, pieces: list[bytes]) -> None:
    assert await ask_raw(site, pieces, hangs_up=True) == []
    assert await site.used("calls") == 0


async def test_a_route_behind_the_edge_may_hang_up_too(site: Site) -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(body)(scope, receive, send)

    answered = await site.rebuilt(graphql=Edge(reading)).post("/graphql", {"a": 1})
    assert answered.json() == {"a": 1}


async def test_a_body_that_takes_its_time_is_judged_as_of_its_end(site: Site) -> None:
    said = orjson.dumps(ASKED)
    answered = await ask_raw(site, [said[:5], said[5:]], each_takes_days=1)
    begun = {one["startsAt"][:10] for one in orjson.loads(answered[1]["body"])["windows"]}
    assert site.clock.now().date().isoformat() in begun


class _Slow(Access):
    """Believes whoever it is, a day later."""

    def __init__(self, access: Access, clock: FakeClock) -> None:
        super().__init__(access.keys, access.tokens)
        self._clock = clock

    async def authenticate(self, header: str | bytes | None, at_ms: int) -> Principal:
        self._clock.advance(days=1)
        return await super().authenticate(header, at_ms)


@pytest.mark.parametrize("path", ["/v1/consume", "/graphql"])
async def test_a_credential_that_takes_its_time_is_no_cause_to_judge_as_of_before(
    site: Site, path: str
) -> None:
    access = _Slow(site.parts.access, site.clock)
    query = (
        'mutation { consume(input: {customer: "acme", feature: "calls"}) { windows { startsAt } } }'
    )
    async with stripe_of(site.core.settings) as stripe:
        graphql = graphql_of(site.core, access, inbox_of(site.core, stripe))
        slow = site.rebuilt(access=access, graphql=graphql)
        answered = await slow.post(path, ASKED if path == "/v1/consume" else {"query": query})
    assert f'"startsAt":"{site.clock.now().date().isoformat()}' in answered.text


async def ask_raw(
    site: Site,
    pieces: list[bytes],
    *,
    hangs_up: bool = False,
    each_takes_days: int = 0,
) -> list[Message]:
    """Send a body piece by piece; return every message that came back."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": hangs_up or n < len(pieces) - 1}
        for n, piece in enumerate(pieces)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        site.clock.advance(days=each_takes_days)
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [
        (b"authorization", f"Bearer {site.keys['consume']}".encode()),
        (b"content-type", b"application/json; charset=UTF-8"),
    ]
    scope = {"type": "http", "method": "POST", "path": "/v1/consume", "headers": headers}
    await site.app(scope, receive, send)
    return sent
