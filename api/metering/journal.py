"""What the journal holds: one entry for each admitted operation, written by the judge itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.infra.packing import pack, unpack

EntryId = tuple[int, int]
"""Milliseconds and sequence number; greater is later in one shard's journal."""

ORIGIN: EntryId = (0, 0)

_HEAD = 4
_EARLIER_HEAD = 8
_ACTIONS = {
    "c": "consume",
    "r": "release",
    "s": "state",
    "p": "pending",
    "h": "hold",
    "u": "undo",
}
_CHARGED = ("p", "h", "u")
UNDO = "undo"
AWAITING = frozenset({"pending", "hold"})
"""Actions that the record has yet to decide."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An admitted operation; ``items`` are (feature id, units), negative units give back.

    ``fingerprint``, ``expires_at`` and ``answer`` are set where the caller named the operation.
    ``charged`` are the units per item that credits pay for; empty: none.
    """

    id: EntryId
    action: str
    operation_id: str
    at: datetime
    customer_id: int
    items: tuple[tuple[int, int], ...]
    fingerprint: str = ""
    expires_at: datetime | None = None
    answer: bytes = b""
    charged: tuple[int, ...] = ()


def entry_id(text: bytes | str) -> EntryId:
    """Parse a stream's own id, ``<ms>-<seq>``."""
    ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(seq)


def render(position: EntryId) -> str:
    """Write an id in the stream's own form."""
    return f"{position[0]}-{position[1]}"


def read(rows: Iterable[Sequence[Any]]) -> tuple[list[Entry], EntryId]:
    """Return the operations among ``rows`` of one stream, and the id of the last row.

    Barriers only move the position. Raises: LookupError, for a row that a newer version wrote:
    passed over, it would be lost. Cost: O(rows).
    """
    entries: list[Entry] = []
    last = ORIGIN
    for row_id, (name, value) in rows:
        last = entry_id(row_id)
        if name == b"e":
            entries.append(_entry(last, unpack(value)))
        elif name == b"d":
            entries.append(_earlier(last, unpack(value)))
        elif name != b"b":
            raise LookupError(f"a journal holds what this version does not know: {name!r}")
    return entries, last


def _entry(position: EntryId, facts: list[Any]) -> Entry:
    """Read what ``admit.lua`` writes: what was asked, by whom, and what differs from that."""
    action, at_ms, operation_id, count = facts[:_HEAD]
    end = _HEAD + 2 * count
    units: list[int] = facts[_HEAD + 1 : end : 2]
    customer_id = facts[end]
    fingerprint, expires_ms = "", 0
    answer: Any = ()
    if len(facts) > end + 1:
        at_ms, action, operation_id, fingerprint, expires_ms, counted, answer = facts[end + 1 :]
        units = counted or units
    if action == "r":
        units = [-given for given in units]
    return Entry(
        position,
        _ACTIONS[action],
        operation_id,
        instant(at_ms),
        customer_id,
        tuple(zip(map(int, facts[_HEAD:end:2]), units, strict=True)),
        fingerprint,
        instant(expires_ms) if expires_ms else None,
        pack(answer) if fingerprint else b"",
        tuple(answer) if action in _CHARGED else (),
    )


def _earlier(position: EntryId, facts: list[Any]) -> Entry:
    """Read an entry of ``undo.lua``, or of a judge before this one."""
    _, action, operation_id, at_ms, customer_id, fingerprint, expires_ms, answer = facts[
        :_EARLIER_HEAD
    ]
    pairs = facts[_EARLIER_HEAD:]
    return Entry(
        id=position,
        action=_ACTIONS[action],
        operation_id=operation_id,
        at=instant(at_ms),
        customer_id=int(customer_id),
        items=tuple((int(f), int(u)) for f, u in zip(pairs[::2], pairs[1::2], strict=True)),
        fingerprint=fingerprint,
        expires_at=instant(expires_ms) if expires_ms else None,
        answer=pack(answer) if fingerprint else b"",
        charged=tuple(answer) if action in _CHARGED else (),
    )


def instant(ms: float) -> datetime:
    """Return the instant that many milliseconds after 1970."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
