"""``/graphql``: GraphQL over HTTP, straight on ASGI.

What is wrong is told in this order: the method, the type of answer, the credential, the API's own
rate limit, the body's type and size, its form, its contents. Every answer is a GraphQL response.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from starlette.types import Receive, Scope, Send

from api.domain.errors import HeadroomError, Unauthenticated
from api.gates.access import Presented, Principal
from api.infra import telemetry
from api.infra.clock import Clock
from api.infra.taskless import in_task
from api.schema.compiled.running import Answer
from api.schema.context import Context
from api.schema.execution import Executor, GraphQLRequest, refuse
from api.schema.services import Services
from api.web.access_log import FAILED, failed
from api.web.decision_metrics import DecisionMetrics
from api.web.edge import safe
from api.web.graphiql import PAGE, PAGE_LINES
from api.web.graphql_reading import (
    GRAPHQL_JSON,
    PLAIN_JSON,
    NotAcceptable,
    answer_type,
    from_body,
    from_query_string,
    wants_page,
)
from api.web.opening import opening_of
from api.web.problems import LINES, problem_of
from api.web.protection import Protection
from api.web.wire import (
    CORRELATION,
    ClientGone,
    Form,
    Forms,
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

_OK = 200
_BAD_REQUEST = 400
_METHOD_NOT_ALLOWED = 405


class GraphQLApp:
    """Answers GraphQL requests; ``development`` shows GraphiQL, and the schema to anybody."""

    taskless = True

    def __init__(
        self,
        executor: Executor,
        services: Services,
        clock: Clock,
        protection: Protection,
        *,
        development: bool = False,
        max_body_bytes: int = 1 << 20,
        max_variables_bytes: int = 1 << 18,
    ) -> None:
        self._executor = executor
        self._services = services
        self._now_us = clock.now_us
        self._protection = protection
        self._development = development
        self.most_bytes = max_body_bytes
        self._max_variables_bytes = max_variables_bytes
        self._metrics = DecisionMetrics("graphql")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing that goes wrong leaves here but as an answer."""
        said = await self.answer(scope, receive)
        if said is not None:
            await answer(send, said)

    async def answer(self, scope: Scope, source: Receive | bytes) -> Told | None:
        """Return the answer to one request, None to somebody who has gone.

        ``source`` is its body, or gives it.
        """
        since = perf_counter()
        head = head_of(scope)
        opening = opening_of(head)
        chosen = telemetry.correlate(opening.correlation)
        kind = answer_type(opening.accept)
        lines: HeaderLines
        try:
            if self._development and _asks_for_page(scope, opening.accept):
                form, lines, body = _PAGE, [], PAGE
            else:
                if kind is None or scope["method"] != "POST" or not opening.once:
                    _expect(scope, kind, head)
                known = self._context(opening.presented)
                context = known or await self._judged(opening.credential)
                if isinstance(source, bytes):
                    if not opening.json:
                        expect_json(head)
                    request = from_body(source, self._max_variables_bytes)
                else:
                    request = await self._received(scope, head, source)
                    context = self._made(context.principal)  # a body may take its time
                given = await self._executor.execute(request, context)
                if context.decided:
                    self._metrics.count_all(context.decided, since)
                form, lines, body = _as_http(given, kind or PLAIN_JSON)
        except ClientGone:
            return None
        except HeadroomError as error:
            more = _lines_of(error)
            form, lines, body = _as_http(refuse(error), kind or PLAIN_JSON, more, malformed=True)
        except Exception as error:  # noqa: BLE001 - the edge: every error ends here, bugs masked
            problem = problem_of(error, scope["method"])
            form, lines, body = _BUGS[problem.form.status], problem.lines, problem.body
        if form.status >= FAILED:
            failed(scope, form.status, since)
        lines.append((CORRELATION, chosen.encode("latin-1")))
        return form, lines, body

    def _made(self, principal: Principal | None) -> Context:
        """Return the context of a request that is asked now."""
        return Context(self._services, principal, self._now_us())

    def _context(self, presented: Presented | None) -> Context | None:
        """Return the same, of somebody whom memory knows. Raises: RateLimited."""
        if presented is None:
            return None
        at_us = self._now_us()
        at_ms = at_us // 1000
        principal = self._services.access.recall(presented, at_ms)
        if principal is None:
            return None
        if self._protection.on:
            self._protection.expect(principal.actor, at_ms)
        return Context(self._services, principal, at_us)

    async def _judged(self, credential: bytes | None) -> Context:
        """Return the same, of anybody else: of nobody in particular only in development."""
        if credential is None and self._development:
            return self._made(None)
        await in_task()
        access, asked = self._services.access, self._made(None)
        context = self._made(await access.authenticate(credential, asked.at_ms))
        self._protection.expect(context.caller.actor, context.at_ms)
        return context

    async def _received(self, scope: Scope, head: Head, receive: Receive) -> GraphQLRequest:
        """Return what is asked in a URL, or in a body that is still coming."""
        if scope["method"] == "GET":
            return from_query_string(scope["query_string"], self._max_variables_bytes)
        expect_json(head)
        body = await read_body(receive, content_length(head), self.most_bytes)
        return from_body(body, self._max_variables_bytes)


def _as_http(
    given: Answer, kind: bytes, more: HeaderLines | None = None, *, malformed: bool = False
) -> Told:
    """Return an answer of type ``kind``, with ``more`` lines, as HTTP tells it."""
    body, status, wait = given
    lines: HeaderLines = []
    if status != _OK:
        if status == _BAD_REQUEST and kind == PLAIN_JSON and not malformed:
            status = _OK  # behind this older type nobody could tell us from a proxy
        elif status == _METHOD_NOT_ALLOWED and more is None:
            lines.append((b"allow", b"POST"))
        if wait is not None:
            lines.append((b"retry-after", str(wait).encode()))
        lines += more or ()
    return _FORMS[kind][status], lines, body


def _asks_for_page(scope: Scope, accept: bytes | None) -> bool:
    return scope["method"] == "GET" and not scope["query_string"] and wants_page(accept)


def _expect(scope: Scope, kind: bytes | None, head: Head) -> None:
    """Go on only with what can be answered here."""
    if scope["method"] not in ("POST", "GET"):
        raise MethodNotAllowed(scope["method"], "GET, POST")
    if kind is None:
        raise NotAcceptable("Accept application/graphql-response+json or application/json.")
    expect_once(head)


def _lines_of(error: HeadroomError) -> HeaderLines:
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", error.allowed.encode())]
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'Bearer realm="headroom"')]
    return []


_FORMS: Mapping[bytes, Forms] = {
    kind: Forms(
        safe(
            [
                (b"content-type", kind + b"; charset=utf-8"),
                # The same URL answers in two types, and to each credential differently.
                (b"vary", b"accept, authorization"),
            ]
        )
    )
    for kind in (PLAIN_JSON, GRAPHQL_JSON)
}
_BUGS = Forms(safe(LINES))
_PAGE = Form(_OK, safe(PAGE_LINES))
