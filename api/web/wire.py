"""ASGI as it is: the head of a request, its body within bounds, and an answer in two messages."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from starlette.types import Receive, Scope, Send

from api.domain.errors import HeadroomError, InvalidInput

HeaderLines = list[tuple[bytes, bytes]]
Told = tuple[int, HeaderLines, bytes]
"""A whole answer: status, header lines, body."""

JSON = b"application/json"
PROBLEM = b"application/problem+json"


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
        """Answer one request. ``scope`` has ``method``, ``path``, ``query_string``, ``headers``."""
        ...


class Head(NamedTuple):
    """The header lines that these doors look at; one that was not sent is None."""

    authorization: bytes | None
    content_type: bytes | None
    content_length: int
    content_encoding: bytes | None
    correlation_id: bytes | None
    idempotency_key: bytes | None


_ONCE = (
    b"authorization",
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"x-correlation-id",
    b"idempotency-key",
)


def read_head(
    lines: Sequence[tuple[bytes, bytes]], found: Mapping[bytes, bytes] | None = None
) -> Head:
    """Pick out the lines that matter; ``found`` are the same ones by their names.

    Raises: InvalidInput, for one that is sent twice: which of the two is meant is anybody's guess.
    """
    if found is None:
        found = dict(lines)
    if len(found) != len(lines):
        names = [name for name, _ in lines]
        for name in _ONCE:
            if names.count(name) > 1:
                raise InvalidInput(f"The header {name.decode()} is sent more than once.")
    get = found.get
    length = get(b"content-length")
    return Head(
        get(b"authorization"),
        get(b"content-type"),
        0 if length is None else _number(length),
        get(b"content-encoding"),
        get(b"x-correlation-id"),
        get(b"idempotency-key"),
    )


def expect_json(head: Head) -> None:
    """Go on only with a body that says it is JSON, plainly encoded.

    So no form of another site can speak with a visitor's rights: it cannot send this type.
    Raises: UnsupportedMediaType.
    """
    if head.content_type != JSON and not _means_json(head.content_type):
        raise UnsupportedMediaType("Send the body with Content-Type: application/json.")
    if head.content_encoding is not None and head.content_encoding.lower() != b"identity":
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


async def answer(send: Send, status: int, lines: HeaderLines, body: bytes) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": lines})
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


def _means_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    kind, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    return kind == JSON and all(
        part in (b"", b"charset=utf-8", b'charset="utf-8"') for part in parameters
    )
