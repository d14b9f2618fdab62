"""A whole answer as bytes: its head is put together from few forms, and looked at as a whole.

The answers of a process have few forms and few sets of header names besides. What each of these
comes to is found once, and only the values that are not of the form are looked at every time, as
uvicorn looks at each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.web.wire import Form, HeaderLines, Told

_NAME = re.compile(rb"[a-z0-9-]+")
_CONNECTION = b"connection"
_OF_THE_WIRE = frozenset({_CONNECTION, b"content-length", b"transfer-encoding"})
"""Names of lines that are said here, or not at all."""
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
TOO_LARGE = STATUS_LINE[431] + b"content-length: 0\r\n" + _LAST + b"\r\n"
"""Said of a head that does not end."""


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
    """Return a whole answer; None where its lines break a rule."""
    form, lines, body = told
    start = _start(form)
    if start is None:
        return None
    names, values = zip(*lines, strict=True) if lines else ((), ())
    template = _template(names)
    if template is None:
        return None
    head = template % values
    if len(head.translate(None, _CONTROL)) + 2 * len(names) != len(head):
        return None
    status_line, fixed = start
    if last:
        head += _LAST
    parts = (status_line, begin, fixed, len(body), head, body)
    return b"%b%b%bcontent-length: %d\r\n%b\r\n%b" % parts


@lru_cache(maxsize=256)
def _start(form: Form) -> tuple[bytes, bytes] | None:
    """Return the status line and the lines of a form; None where they break a rule."""
    names = tuple(name for name, _ in form.lines)
    template = _template(names)
    if form.status not in STATUS_LINE or template is None:
        return None
    fixed = template % tuple(value for _, value in form.lines)
    if len(fixed.translate(None, _CONTROL)) + 2 * len(names) != len(fixed):
        return None
    return STATUS_LINE[form.status], fixed


@lru_cache(maxsize=256)
def _template(names: Sequence[bytes]) -> bytes | None:
    """Return lines with a place for each value; None for odd names, and for those of the wire."""
    if not _OF_THE_WIRE.isdisjoint(names) or not all(map(_NAME.fullmatch, names)):
        return None
    return b"".join([name + b": %b\r\n" for name in names])
