"""ASGI as it is: the head of a request, its body within bounds, and an answer in two messages."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, runtime_checkable

from starlette.types import Receive, Scope, Send

from api.domain.errors import HeadroomError, InvalidInput

HeaderLines = list[tuple[bytes, bytes]]
JSON = b"application/json"
PROBLEM = b"application/problem+json"


class Form:
    """What all answers of one kind have: their status, and these header lines.

    The length of the body is not among them: whoever sends an answer says it.
    """

    __slots__ = ("lines", "status")

    def __init__(self, status: int, lines: Sequence[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.lines = tuple(lines)


class Forms(dict[int, Form]):
    """The forms with the same lines, by status; each is made once."""

    def __init__(self, lines: HeaderLines) -> None:
        super().__init__()
        self._lines = lines

    def __missing__(self, status: int) -> Form:
        """Make the form of a status when it is first told."""
        form = self[status] = Form(status, self._lines)
        return form


Told = tuple[Form, HeaderLines, bytes]
"""A whole answer: its form, the header lines besides, its body."""


class MethodNotAllowed(HeadroomError):
    """The path exists, and not for this method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method[:20]} is not answered here; use {allowed}.")
        self.allowed = allowed


class BodyTooLarge(HeadroomError):
    """More bytes than any sensible request to this door has."""

    code = "BODY_TOO_LARGE"
    status = 413

    def __init__(self, most: int) -> None:
        super().__init__(f"The body may have at most {most} bytes.")


class UnsupportedMediaType(HeadroomError):
    """A body in a form that is not read here."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class ClientGone(Exception):
    """The caller hung up before its request was whole; there is nobody to answer."""


@runtime_checkable
class Direct(Protocol):
    """An ASGI application that also answers requests which came whole without ASGI's messages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request as ASGI has it."""
        ...

    @property
    def most_bytes(self) -> int:
        """The largest body that it is given so."""
        ...

    @property
    def taskless(self) -> bool:
        """Whether it asks for a task where it needs one."""
        ...

    def answer(self, scope: Scope, source: bytes) -> Coroutine[Any, Any, Told | None]:
        """Answer one request.

        ``scope`` has ``method``, ``path``, ``query_string``, ``headers``, and perhaps ``head``, a
        ``Head`` of the same lines. The next request may come with the same one: it is not changed.
        """
        ...


class Head(dict[bytes, bytes]):
    """Header lines by their names; of several of one name, the last.

    Callers send the same head again and again. Whoever reads one keeps in ``kept`` what it came to.
    """

    __slots__ = ("kept", "lines")

    def __init__(self, lines: HeaderLines) -> None:
        super().__init__(lines)
        self.lines = lines
        self.kept: object = None


AUTHORIZATION = b"authorization"
CONTENT_TYPE = b"content-type"
CONTENT_LENGTH = b"content-length"
CONTENT_ENCODING = b"content-encoding"
CORRELATION = b"x-correlation-id"
IDEMPOTENCY_KEY = b"idempotency-key"

_ONCE = (
    AUTHORIZATION,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CORRELATION,
    IDEMPOTENCY_KEY,
)
"""The lines that these doors look at."""


def head_of(scope: Scope) -> Head:
    """Return the header lines of a request."""
    head: Head | None = scope.get("head")
    return Head(scope["headers"]) if head is None else head


def read_head(scope: Scope) -> Head:
    """Return the same. Raises: InvalidInput, as ``expect_once`` does."""
    head = head_of(scope)
    if not is_once(head):
        expect_once(head)
    return head


def is_once(head: Head) -> bool:
    """Tell whether no line that matters is sent twice."""
    if len(head) == len(head.lines):
        return True
    names = [name for name, _ in head.lines]
    return all(names.count(name) <= 1 for name in _ONCE)


def expect_once(head: Head) -> None:
    """Go on only where that is so: which one is meant is anybody's guess. Raises: InvalidInput."""
    names = [name for name, _ in head.lines]
    for name in _ONCE:
        if names.count(name) > 1:
            raise InvalidInput(f"The header {name.decode()} is sent more than once.")


def content_length(head: Head) -> int:
    """Return the declared length of the body, 0 where none is."""
    length = head.get(CONTENT_LENGTH)
    return 0 if length is None else _number(length)


def says_json(head: Head) -> bool:
    """Tell whether the body is said to be JSON, plainly encoded."""
    return _means_json(head.get(CONTENT_TYPE)) and _is_plain(head.get(CONTENT_ENCODING))


def expect_json(head: Head) -> None:
    """Go on only with a body that says it is JSON, plainly encoded.

    So no form of another site can speak with a visitor's rights: it cannot send this type.
    Raises: UnsupportedMediaType.
    """
    if not _means_json(head.get(CONTENT_TYPE)):
        raise UnsupportedMediaType("Send the body with Content-Type: application/json.")
    if not _is_plain(head.get(CONTENT_ENCODING)):
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")


async def read_body(receive: Receive, declared: int, most: int) -> bytes:
    """Return the whole body.

    Raises: BodyTooLarge, before more than ``most`` bytes are kept; ClientGone.
    """
    if declared > most:
        raise BodyTooLarge(most)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(receive, body, most)
    if len(body) > most:
        raise BodyTooLarge(most)
    return body


async def answer(send: Send, told: Told) -> None:
    """Send a whole answer."""
    form, lines, body = told
    headers = [*form.lines, (CONTENT_LENGTH, b"%d" % len(body)), *lines]
    await send({"type": "http.response.start", "status": form.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def remote_address(scope: Scope) -> str:
    """Return who connected, as the server believes it."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def _rest(receive: Receive, begun: bytes, most: int) -> bytes:
    chunks = [begun]
    size = len(begun)
    while size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if not message.get("more_body", False):
            break
    return b"".join(chunks)


def _number(digits: bytes) -> int:
    """Read a declared length; the server has refused what is none, and more is too large here."""
    return int(digits[:15]) if digits.isdigit() else 0


def _is_plain(encoding: bytes | None) -> bool:
    return encoding is None or encoding.lower() == b"identity"


def _means_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    kind, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    return kind == JSON and all(
        part in (b"", b"charset=utf-8", b'charset="utf-8"') for part in parameters
    )
