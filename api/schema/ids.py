"""Opaque global ids: what ``node`` takes, and what a page begins after."""

from __future__ import annotations

import base64
import binascii
import re

from api.domain.errors import InvalidInput

LONGEST_ID = 512
_TEXT = re.compile(r"([A-Za-z]{1,40}):(.{1,300})", re.DOTALL)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def encode(kind: str, own: str | int) -> str:
    """Return the global id of the ``kind`` whose own name or number is ``own``."""
    return base64.urlsafe_b64encode(f"{kind}:{own}".encode()).rstrip(b"=").decode()


def decode(opaque: str) -> tuple[str, str] | None:
    """Return kind and own name; None for what was never given out here.

    Every id has one spelling, so two ids are equal where their texts are.
    """
    if len(opaque) > LONGEST_ID:
        return None
    try:
        raw = base64.b64decode(opaque + "=" * (-len(opaque) % 4), altchars=b"-_", validate=True)
        found = _TEXT.fullmatch(raw.decode())
    except (ValueError, binascii.Error):
        return None
    if found is None or encode(found[1], found[2]) != opaque:
        return None
    return found[1], found[2]


def number(own: str) -> int | None:
    """Return ``own`` as the number of a row, None where it is not one."""
    return int(own) if _NUMBER.fullmatch(own) else None


def cursor(kind: str, own: str | int) -> str:
    """Return the place of one item in its list."""
    return encode(f"{kind}Cursor", own)


def place(kind: str, opaque: str) -> str:
    """Return the item that a cursor of this list stands at. Raises: InvalidInput."""
    found = decode(opaque)
    if found is None or found[0] != f"{kind}Cursor":
        raise InvalidInput("The cursor does not come from this list.")
    return found[1]


def place_number(kind: str, opaque: str | None) -> int | None:
    """Return the number of the row that a cursor stands at, None without one.

    Raises: InvalidInput.
    """
    if opaque is None:
        return None
    found = number(place(kind, opaque))
    if found is None:
        raise InvalidInput("The cursor does not come from this list.")
    return found
