"""Around every other route: a correlation id, safe headers, and no error that leaks or escapes."""

from __future__ import annotations

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.infra import telemetry
from api.web.access_log import FAILED, failed
from api.web.problems import problem_of
from api.web.wire import ClientGone, HeaderLines, answer

_CORRELATION = b"x-correlation-id"
_SAFE = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
    b"cache-control": b"no-store",
    # A page of ours says itself what it loads; nothing else here is a page.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""Given unless the route says otherwise."""


def safe(lines: HeaderLines) -> HeaderLines:
    """Return header lines with those that every answer has."""
    said = {name.lower() for name, _ in lines}
    return [*lines, *(line for line in _SAFE.items() if line[0] not in said)]


class Edge:
    """Hands HTTP requests to ``inner`` and sees to it that each gets a whole answer."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is none."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        since = perf_counter()
        given = next((value for name, value in scope["headers"] if name == _CORRELATION), None)
        chosen = telemetry.correlate(given.decode("latin-1") if given else None).encode("latin-1")
        begun = False

        async def send_safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if message["status"] >= FAILED:
                    failed(scope, message["status"], since)
                lines = safe(list(message.get("headers", ())))
                if all(name.lower() != _CORRELATION for name, _ in lines):
                    lines.append((_CORRELATION, chosen))
                message = {**message, "headers": lines}
            await send(message)

        try:
            # Routing then raises for a path it does not know, and the answer is made here.
            await self._inner({"app": self, **scope}, receive, send_safely)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge: every error ends here, bugs masked
            problem = problem_of(error, scope["method"])
            if not begun:
                await answer(send_safely, problem.told)
