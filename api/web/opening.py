"""What the head of a request comes to, whatever its body is: found once for each head."""

from __future__ import annotations

from typing import NamedTuple

from api.gates.access import Presented, presented
from api.web.wire import AUTHORIZATION, CORRELATION, Head, is_once, says_json

LONGEST_ACCEPT = 1_000
"""Bytes of such a line that are looked at: what it comes to is kept, and anybody may send it."""

_ACCEPT = b"accept"


class Opening(NamedTuple):
    """A head as the hot doors read it.

    ``once``: no line that matters comes twice. ``json``: the body is said to be plain JSON.
    ``presented`` is the credential as memory may know it, ``accept`` what answers are taken; of
    several such lines the first one counts.
    """

    once: bool
    json: bool
    correlation: str | None
    credential: bytes | None
    presented: Presented | None
    accept: bytes | None


def opening_of(head: Head) -> Opening:
    """Return what ``head`` comes to; it is kept with it."""
    kept = head.kept
    if type(kept) is Opening:
        return kept
    once = is_once(head)
    correlation = head.get(CORRELATION)
    credential = head.get(AUTHORIZATION)
    accept = head.get(_ACCEPT)
    if len(head) != len(head.lines):
        accept = next((value for name, value in head.lines if name == _ACCEPT), None)
    head.kept = opening = Opening(
        once,
        says_json(head),
        correlation.decode("latin-1") if correlation and once else None,
        credential,
        presented(credential),
        None if accept is None else accept[:LONGEST_ACCEPT],
    )
    return opening
