"""A whole answer as bytes: its head is put together from few forms, and looked at as a whole.

The answers of a process have few sets of header names. What each of these comes to is found once,
and only the values are looked at every time, as uvicorn looks at each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.web.wire import HeaderLines, Told

_NAME = re.compile(rb"[a-z0-9-]+")
_LENGTH = b"content-length"
_CHUNKED = b"transfer-encoding"
_CONNECTION = b"connection"
_CONTROL = bytes({*range(32), 127} - {ord("\t")})
"""What may not be within a value."""
_LAST = b"connection: close\r\n"
FAILED = (
    STATUS_LINE[500]
    + b"content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n"
    + _LAST
    + b"\r\nInternal Server Error"
)
"""What uvicorn says of an application that failed."""


class Begin:
    """What the heads of all answers begin with, put together once until uvicorn changes it."""

    def __init__(self) -> None:
        self._known: HeaderLines = []
        self._bytes: bytes | None = b""

    def of(self, lines: HeaderLines) -> bytes | None:
        """Return the bytes of ``lines``; None where one is of the connection."""
        if lines is not self._known:
            of_connection = any(name.lower() == _CONNECTION for name, _ in lines)
            self._known = lines
            self._bytes = None if of_connection else b"".join([b"%b: %b\r\n" % x for x in lines])
        return self._bytes


def written(begin: bytes, told: Told, *, last: bool) -> bytes | None:
    """Return a whole answer; None where its lines break a rule, or do not fit its body."""
    status, lines, body = told
    names, values = zip(*lines, strict=True)
    form = _form(status, names)
    if form is None:
        return None
    status_line, template, place = form
    head = template % values
    fits = values[place] == b"%d" % len(body)
    if not fits or len(head.translate(None, _CONTROL)) + 2 * len(names) != len(head):
        return None
    more = _LAST if last else b""
    return b"%b%b%b%b\r\n%b" % (status_line, begin, head, more, body)


@lru_cache(maxsize=256)
def _form(status: int, names: Sequence[bytes]) -> tuple[bytes, bytes, int] | None:
    """Return the status line, the others with a place for each value, and the length's place.

    None for odd names.
    """
    if (
        status not in STATUS_LINE
        or names.count(_LENGTH) != 1
        or _CONNECTION in names
        or _CHUNKED in names
        or not all(map(_NAME.fullmatch, names))
    ):
        return None
    lines = b"".join([name + b": %b\r\n" for name in names])
    return STATUS_LINE[status], lines, names.index(_LENGTH)
