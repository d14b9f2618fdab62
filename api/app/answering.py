"""A shorter way for an answer that is whole: one look at its lines, one write.

uvicorn looks at each header line by itself and writes head and body apart, an eighth of what a
request costs here. The answers of a process have few sets of header names: what each of these comes
to is found once, and only the values are looked at every time. Whatever is no plain whole answer (a
stream, one to HEAD, the last of its connection, one that breaks a rule) is uvicorn's as ever.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NAME = re.compile(rb"[a-z0-9-]+")
_LENGTH = b"content-length"
_OF_CONNECTION = {b"connection", b"transfer-encoding"}
_CONTROL = bytes({*range(32), 127} - {ord("\t")})
"""What uvicorn refuses within a value."""

_Form = tuple[bytes, int, int]
"""A head with a place for each value, the length's place, and how many bytes of it end lines."""


class Answering:
    """An application, and its shorter way to the transport of uvicorn."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Have the application answer one request; no coroutine of its own is between."""
        cycle = getattr(send, "__self__", None)
        # uvicorn hands over a method of its own object, for HTTP.
        if isinstance(cycle, RequestResponseCycle) and not (
            cycle.access_log or scope["method"] == "HEAD"
        ):
            send = _Answer(cycle, send).send
        return self._inner(scope, receive, send)


class _Answer:
    """The answer to one request.

    The head of one that may be whole is kept until its body comes, as ASGI wants of servers. Until
    then uvicorn knows nothing of it, and so says 500 where the application fails in between.
    """

    __slots__ = ("_cycle", "_kept", "_send")

    def __init__(self, cycle: RequestResponseCycle, send: Send) -> None:
        self._cycle = cycle
        self._send = send
        self._kept: tuple[Message, _Form, tuple[bytes, ...]] | None = None

    async def send(self, message: Message) -> None:
        """Take one message: it means what it means to uvicorn."""
        cycle = self._cycle
        if self._kept is not None:
            start, form, values = self._kept
            self._kept = None
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                body = message.get("body", b"")
                whole = _whole(form, values, body)
                # Looked at now: the process may have begun to leave since the head was told.
                usual = cycle.keep_alive and not cycle.disconnected and not cycle.flow.write_paused
                if whole is not None and usual:
                    cycle.response_started = cycle.response_complete = True
                    cycle.waiting_for_100_continue = cycle.chunked_encoding = False
                    cycle.transport.write(whole)
                    cycle.message_event.set()
                    cycle.on_response()
                    return
            await self._send(start)
        elif not cycle.response_started and (lines := message.get("headers")):
            names, values = zip(*cycle.default_headers, *lines, strict=False)
            known = _form(message["status"], names)
            if known is not None:
                self._kept = (message, known, values)
                return
        await self._send(message)


def _whole(form: _Form, values: tuple[bytes, ...], body: bytes) -> bytes | None:
    """Return head and body, or None where they do not fit or a value breaks out of its line."""
    template, place, ends = form
    head = template % values
    if (
        values[place] != b"%d" % len(body)
        or len(head) - len(head.translate(None, _CONTROL)) != ends
    ):
        return None
    return head + body


@lru_cache(maxsize=256)
def _form(status: int, names: tuple[bytes, ...]) -> _Form | None:
    """Return the form of such heads, or None where a name is none, or says more than its line."""
    if status not in STATUS_LINE or names.count(_LENGTH) != 1:
        return None
    if not _OF_CONNECTION.isdisjoint(names) or not all(map(_NAME.fullmatch, names)):
        return None
    lines = b"".join(name + b": %b\r\n" for name in names)
    return STATUS_LINE[status] + lines + b"\r\n", names.index(_LENGTH), 2 * len(names) + 4
