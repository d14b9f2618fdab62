"""The counters: asking the judge, and reading its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from api.domain import keys
from api.domain.admission import Action
from api.domain.catalog import WindowKind
from api.domain.decision import WindowFigure
from api.domain.snapshot import COUNTED_ONLY, OVERAGE, UNLIMITED, decode_holding
from api.domain.unlocking import Holding
from api.infra.lua import Script
from api.infra.packing import pack, unpack
from api.infra.redis import RedisDoor

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
    once recorded; ``at_ms`` the instant under which the operation is recorded.

    ``charged`` are the units per item that credits pay for. Of ``PENDING``: the ``attempt`` that
    was counted, ``adopted`` where an earlier call under the same key made it; for whom, by which
    version of its rights, and until when (0: always) that holds; ``filling`` names the counters
    that counted it. No ``entry``: nothing was written.
    """

    verdict: Verdict
    entry: str = ""
    refresh: bool = False
    rows: Sequence[Any] = ()
    holding: Holding | None = None
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
        return read(await self.ask(operation, at_ms))

    def ask(self, operation: Operation, at_ms: int) -> Awaitable[bytes]:
        """Have it judged and counted as ``admit`` does; ``read`` reads the answer."""
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
            operation.attempt,
            "".join("1" if cost else "0" for cost in operation.costs) if operation.costs else "",
        ]
        for feature_id, units in operation.items:
            args.append(feature_id)
            args.append(units)
        return self._door.call(ADMIT, shard, (snapshot, counters, keys.journal(shard), known), args)


def read(packed: bytes) -> Reply:
    """Read what ``admit.lua`` answered."""
    return read_reply(unpack(packed))


def read_reply(reply: Sequence[Any]) -> Reply:
    """Read it unpacked."""
    verdict = reply[0]
    reader = _READERS.get(verdict)
    return Reply(Verdict(verdict)) if reader is None else reader(reply)


def _allowed(reply: Sequence[Any]) -> Reply:
    _, entry, refresh, at_ms, charged, *rows = reply
    # In order, as every allowed call comes by here and naming them takes twice as long.
    return Reply(Verdict.ALLOWED, entry, refresh == 1, rows, None, 0, int(at_ms), 0, charged or ())


def _denied(reply: Sequence[Any]) -> Reply:
    holding = decode_holding(reply[1])
    return Reply(Verdict.DENIED, "", reply[2] == 1, reply[4:], holding, charged=reply[3] or ())


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


# By the number itself: a member of an enumeration is hashed in Python.
_READERS: Mapping[int, Callable[[Sequence[Any]], Reply]] = {
    Verdict.ALLOWED.value: _allowed,
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


def slot_name(feature_id: int, window: int, mark: int) -> str:
    """Return the field in which a limit is counted; ``mark`` is the third part of the limit."""
    return f"{feature_id}:{window}{'o' if mark == OVERAGE else ''}"


def figures(row: Sequence[Any]) -> tuple[WindowFigure, ...]:
    """Read one item's flat figures; see ``admit.lua``."""
    each = iter(row)
    return tuple(
        [
            WindowFigure(
                WINDOWS[kind],
                None if limit == UNLIMITED else int(limit) if limit > 0 else 0,
                int(used),
                start or None,
                stop or None,
                int(held),
                code or None,
                status or None,
                mark == _SHADOW,
                limit != COUNTED_ONLY,
                mark == OVERAGE,
            )
            for kind, limit, used, start, stop, code, status, mark, held in zip(
                *(each,) * FIGURE, strict=True
            )
        ]
    )
