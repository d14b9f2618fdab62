"""The counters: asking the judge, and reading its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, NamedTuple

from api.domain import keys
from api.domain.admission import Action
from api.domain.catalog import WindowKind
from api.domain.decision import WindowFigure
from api.domain.snapshot import COUNTED_ONLY, OVERAGE, UNLIMITED
from api.infra.lua import Script
from api.infra.packing import pack, pack_side_by_side, unpack
from api.infra.redis import Place, RedisDoor

ADMIT = Script.load(__file__, "admit")

_ACTIONS = {
    Action.CONSUME: "c",
    Action.CHECK: "k",
    Action.RELEASE: "r",
    Action.STATE: "s",
    Action.PEND: "p",
    Action.AWAIT: "a",
    Action.HOLD: "h",
}
WINDOWS = tuple(WindowKind)
"""By the number that stands for each in the counter store."""
FIGURE = 9
"""How many values stand for one limit in a reply's row."""
_SHADOW = 1
_LESS_THAN_NONE = {UNLIMITED: None, COUNTED_ONLY: 0}
# Made of whole tuples, as every call makes several: naming or counting the fields takes as long
# again.
_figure = partial(tuple.__new__, WindowFigure)
MOST_PLACES = 16_384
"""Customers whose keys are kept: a few megabytes."""
NOT_GRANTED = 0
"""Stands in a reply's rows for an item that the customer is not granted."""


LONGEST_KEPT = 200
"""Characters of a customer's key, whose place is kept."""


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
    PENDING = 12


class Operation(NamedTuple):
    """One call on the counters. ``items`` are (feature id, units).

    ``fingerprint`` is empty where the caller did not name the operation; else the answer is kept
    ``replay_ms`` in the counter store and ``record_ms`` in the record. ``PEND``, ``AWAIT`` and
    ``HOLD`` are counted under ``attempt``; ``costs`` says of each item whether it costs credits.
    """

    action: Action
    customer: str
    operation_id: str
    items: Sequence[tuple[int, int]]
    fingerprint: str = ""
    replay_ms: int = 0
    record_ms: int = 0
    attempt: str = ""
    costs: Sequence[bool] = ()


class Reply(NamedTuple):
    """The judge's answer, as it came.

    ``rows`` hold per item the flat figures, or 0 where the feature is not granted and nothing of
    it counted; for ``REPLAYED`` those of the first time. ``entry`` is the journal entry's id, empty
    once recorded; ``at_ms`` the instant under which the operation is recorded. ``holding`` is
    encoded, as few denials have to be thought through: see ``denials.py``.

    ``charged`` are the units per item that credits pay for. Of ``PENDING``: the ``attempt`` that
    was counted, ``adopted`` where an earlier call under the same key made it; for whom, by which
    version of its rights, and until when (0: always) that holds; ``filling`` names the counters
    that counted it. No ``entry``: nothing was written.
    """

    verdict: Verdict
    entry: str = ""
    refresh: bool = False
    rows: Sequence[Any] = ()
    holding: Sequence[Any] = ()
    item: int = 0
    at_ms: int = 0
    server_ms: int = 0
    charged: Sequence[int] = ()
    attempt: str = ""
    adopted: bool = False
    customer_id: int = 0
    version: int = 0
    valid_until_s: int = 0
    filling: str = ""


_reply = partial(tuple.__new__, Reply)


class Counters:
    """Asks ``admit.lua``; one round trip a call, shared by the calls of the moment."""

    def __init__(self, door: RedisDoor, *, journal_max: int, max_skew_ms: int) -> None:
        self._door = door
        self._bounds = bounds(max_skew_ms, journal_max)

    async def admit(self, operation: Operation, at_ms: int) -> Reply:
        """Judge and count ``operation`` at that instant.

        Raises: NotSent, OutcomeUnknown. Cost: see ``admit.lua``.
        """
        return read(await self.ask(operation, at_ms))

    def ask(self, operation: Operation, at_ms: int) -> asyncio.Future[bytes]:
        """Have it judged and counted as ``admit`` does; ``read`` reads the answer."""
        place, named, args = asking(operation, at_ms, self._bounds)
        return self._door.call_at(place, ADMIT, named, args)


def bounds(max_skew_ms: int, journal_max: int) -> bytes:
    """Return the argument of ``admit.lua`` that is the same of every call."""
    return pack_side_by_side([max_skew_ms, journal_max])


def asking(
    operation: Operation, at_ms: int, within: bytes
) -> tuple[Place, tuple[str, ...], tuple[bytes, ...]]:
    """Return the place, further keys and arguments of ``admit.lua`` that ask ``operation``."""
    action, customer, operation_id, items, named, replay_ms, record_ms, attempt, costs = operation
    head = [_ACTIONS[action], at_ms, operation_id, len(items)]
    for feature_id, units in items:
        head += (str(feature_id), units)
    args: tuple[bytes, ...] = (pack_side_by_side(head), within)
    # None of those that exist is longer; what is, shall not be kept.
    place = _place(customer) if len(customer) <= LONGEST_KEPT else _place.__wrapped__(customer)
    names: tuple[str, ...] = ()
    if named:
        names = (keys.answer(place.shard, customer, operation_id),)
    paid = bool(costs) and any(costs)
    if named or attempt or paid:
        digits = "".join("1" if cost else "0" for cost in costs) if paid else ""
        args += (pack_side_by_side([named, replay_ms, record_ms, attempt, digits]),)
    return place, names, args


@lru_cache(maxsize=MOST_PLACES)
def _place(customer: str) -> Place:
    """Return where a customer lies, kept of those of late: most calls are of the same ones."""
    shard = keys.shard_of(customer)
    names = keys.snapshot(shard, customer), keys.counters(shard, customer), keys.journal(shard)
    return Place.of(shard, names)


def read(packed: bytes) -> Reply:
    """Read what ``admit.lua`` answered."""
    return read_reply(unpack(packed))


def read_reply(reply: Sequence[Any]) -> Reply:
    """Read it unpacked."""
    number = reply[0]
    if number == _ALLOWED_NUMBER:
        _, entry, refresh, at_ms, charged, *rows = reply
        return _reply((_ALLOWED, entry, refresh == 1, rows, (), 0, at_ms, 0, charged or (), *_REST))
    reader = _READERS.get(number)
    return Reply(_VERDICTS[number]) if reader is None else reader(reply)


def _denied(reply: Sequence[Any]) -> Reply:
    _, holding, refresh, charged, *rows = reply
    return Reply(Verdict.DENIED, "", refresh == 1, rows, holding, 0, 0, 0, charged or ())


def _replayed(reply: Sequence[Any]) -> Reply:
    first = read_reply(reply[1])
    if first.verdict is Verdict.PENDING:
        return first._replace(adopted=True)
    return first._replace(verdict=Verdict.REPLAYED, refresh=False)


def _pending(reply: Sequence[Any]) -> Reply:
    return Reply(
        Verdict.PENDING,
        reply[1],
        reply[2] == 1,
        reply[10:],
        at_ms=int(reply[3]),
        charged=reply[4],
        attempt=reply[5],
        customer_id=int(reply[6]),
        version=int(reply[7]),
        valid_until_s=int(reply[8]),
        filling=reply[9],
    )


_ALLOWED = Verdict.ALLOWED
_ALLOWED_NUMBER = _ALLOWED.value
_REST = tuple(Reply._field_defaults.values())[8:]
"""What an allowed operation's reply has after its charged units."""
_VERDICTS: Sequence[Verdict] = (Verdict.ALLOWED, *Verdict)
"""By number, from 1 on; looking it up in the enumeration costs several times as much."""
# By the number itself: a member of an enumeration is hashed in Python.
_READERS: Mapping[int, Callable[[Sequence[Any]], Reply]] = {
    Verdict.DENIED.value: _denied,
    Verdict.REPLAYED.value: _replayed,
    Verdict.PENDING.value: _pending,
    Verdict.BELOW_ZERO.value: lambda reply: Reply(Verdict.BELOW_ZERO, item=reply[1]),
    Verdict.TOO_MANY.value: lambda reply: Reply(Verdict.TOO_MANY, item=reply[1]),
    Verdict.CLOCKS_DIFFER.value: lambda reply: Reply(
        Verdict.CLOCKS_DIFFER, server_ms=int(reply[1])
    ),
}


def pending_answer(reply: Reply) -> bytes:
    """Return what the record keeps of a pending reply, in the form of ``admit.lua``."""
    return pack(
        [
            Verdict.PENDING.value,
            reply.entry,
            0,
            reply.at_ms,
            list(reply.charged),
            reply.attempt,
            reply.customer_id,
            reply.version,
            reply.valid_until_s,
            reply.filling,
            *reply.rows,
        ]
    )


def figures(row: Sequence[Any]) -> tuple[WindowFigure, ...]:
    """Read one item's flat figures; see ``admit.lua``."""
    found: list[WindowFigure] = []
    for at in range(0, len(row), FIGURE):
        kind, limit, used, start, stop, code, status, mark, held = row[at : at + FIGURE]
        figure = (
            WINDOWS[kind],
            limit if limit >= 0 else _LESS_THAN_NONE[limit],
            used,
            start or None,
            stop or None,
            held,
            code or None,
            status or None,
            mark == _SHADOW,
            limit != COUNTED_ONLY,
            mark == OVERAGE,
        )
        found.append(_figure(figure))
    return tuple(found)
