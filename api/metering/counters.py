"""The counters: asking the judge, and reading its answer."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from api.domain import keys
from api.domain.admission import Action
from api.domain.catalog import WindowKind
from api.domain.decision import WindowFigure
from api.domain.snapshot import COUNTED_ONLY, UNLIMITED, decode_holding
from api.domain.unlocking import Holding
from api.infra.lua import Script
from api.infra.packing import unpack
from api.infra.redis import RedisDoor

ADMIT = Script.load(__file__, "admit")

_ACTIONS = {Action.CONSUME: "c", Action.CHECK: "k", Action.RELEASE: "r", Action.STATE: "s"}
_FIGURE = 8
NOT_GRANTED = 0
"""Stands in a reply's rows for an item that the customer is not granted."""


class Verdict(IntEnum):
    """What ``admit.lua`` answers; the numbers are its own."""

    ALLOWED = 1
    DENIED = 2
    REPLAYED = 3
    CONFLICT = 4
    NO_SNAPSHOT = 5
    NO_COUNTERS = 6
    OTHER_EPOCH = 7
    JOURNAL_FULL = 8
    CLOCKS_DIFFER = 9
    BELOW_ZERO = 10
    TOO_MANY = 11


class Operation(NamedTuple):
    """One call on the counters. ``items`` are (feature id, units).

    ``fingerprint`` is empty where the caller did not name the operation; else the answer is kept
    ``replay_ms`` in the counter store and ``record_ms`` in the record.
    """

    action: Action
    customer: str
    operation_id: str
    items: Sequence[tuple[int, int]]
    fingerprint: str = ""
    replay_ms: int = 0
    record_ms: int = 0


class Reply(NamedTuple):
    """The judge's answer, as it came.

    ``rows`` hold per item the flat figures, or 0 where the feature is not granted and nothing of
    it counted; for ``REPLAYED`` those of the first time. ``entry`` is the journal entry's id, empty
    once recorded; ``at_ms`` the instant under which the operation is recorded.
    """

    verdict: Verdict
    entry: str = ""
    refresh: bool = False
    rows: Sequence[Any] = ()
    holding: Holding | None = None
    item: int = 0
    at_ms: int = 0
    server_ms: int = 0


class Counters:
    """Asks ``admit.lua``; one round trip a call, shared by the calls of the moment."""

    def __init__(self, door: RedisDoor, *, journal_max: int, max_skew_ms: int) -> None:
        self._door = door
        self._journal_max = journal_max
        self._max_skew_ms = max_skew_ms

    async def admit(self, operation: Operation, at_ms: int) -> Reply:
        """Judge and count ``operation`` at that instant.

        Raises: NotSent, OutcomeUnknown. Cost: see ``admit.lua``.
        """
        customer = operation.customer
        shard = keys.shard_of(customer)
        snapshot, counters = keys.snapshot(shard, customer), keys.counters(shard, customer)
        named = operation.fingerprint
        known = keys.answer(shard, customer, operation.operation_id) if named else counters
        args: list[str | int] = [
            at_ms,
            self._max_skew_ms,
            self._journal_max,
            _ACTIONS[operation.action],
            operation.operation_id,
            operation.fingerprint,
            operation.replay_ms,
            operation.record_ms,
        ]
        for feature_id, units in operation.items:
            args.append(feature_id)
            args.append(units)
        reply = await self._door.call(
            ADMIT, shard, (snapshot, counters, keys.journal(shard), known), args
        )
        return read_reply(unpack(reply))


def read_reply(reply: Sequence[Any]) -> Reply:
    """Read what ``admit.lua`` answered."""
    verdict = reply[0]
    if verdict == Verdict.ALLOWED:
        return Reply(Verdict.ALLOWED, reply[1], reply[2] == 1, reply[4:], at_ms=int(reply[3]))
    if verdict == Verdict.DENIED:
        return Reply(Verdict.DENIED, "", reply[2] == 1, reply[3:], decode_holding(reply[1]))
    if verdict == Verdict.REPLAYED:
        first = reply[1]
        return Reply(Verdict.REPLAYED, first[1], refresh=False, rows=first[4:], at_ms=int(first[3]))
    if verdict in (Verdict.BELOW_ZERO, Verdict.TOO_MANY):
        return Reply(Verdict(verdict), item=reply[1])
    if verdict == Verdict.CLOCKS_DIFFER:
        return Reply(Verdict.CLOCKS_DIFFER, server_ms=int(reply[1]))
    return Reply(Verdict(verdict))


def figures(row: Sequence[Any]) -> tuple[WindowFigure, ...]:
    """Read one item's flat figures; see ``admit.lua``."""
    found = []
    for i in range(0, len(row), _FIGURE):
        kind, limit, used, start, stop, code, status, shadow = row[i : i + _FIGURE]
        found.append(
            WindowFigure(
                WindowKind.from_code(kind),
                None if limit == UNLIMITED else max(0, int(limit)),
                int(used),
                start or None,
                stop or None,
                0,
                code or None,
                status or None,
                shadow == 1,
                limit != COUNTED_ONLY,
            )
        )
    return tuple(found)
