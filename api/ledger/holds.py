"""Holds: units and credits set aside, until they are captured, voided, or expire.

Each resolves once, in one transaction with its entries, its usage and the operation's id. What the
counters must be told of it is numbered, so that it can be told late and twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Self

from api.domain.errors import Unavailable
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.ledger.together import Together

_sql = Queries.load("charges")


class HoldState(StrEnum):
    """Where a hold stands; only an open one can change."""

    OPEN = "open"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class Resolution(StrEnum):
    """What is done with a hold."""

    CAPTURE = "capture"
    VOID = "void"
    EXTEND = "extend"
    EXPIRE = "expire"


class HoldOutcome(IntEnum):
    """What ``credits_resolve`` answers; the numbers are its own."""

    DONE = 1
    REPLAYED = 3
    CONFLICT = 4
    UNKNOWN = 8
    RESOLVED = 9
    EXPIRED = 10
    TOO_MUCH = 11
    NOT_LATER = 12


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """One hold as the record has it.

    Of ``units`` the last ``charged`` are paid with ``credits``; ``captured`` and ``spent`` are what
    of either was taken for good. ``counted``: the counters took part.
    """

    customer_id: int
    id: str
    operation_id: str
    feature_id: int
    units: int
    charged: int
    captured: int
    at: datetime
    expires_at: datetime
    state: HoldState
    resolved_at: datetime | None
    credits: int
    spent: int
    counted: bool
    version: int
    actor: str
    correlation_id: str | None

    @property
    def held(self) -> int:
        """Units that are neither captured nor given back."""
        return self.units - self.captured if self.state is HoldState.OPEN else 0

    @property
    def held_credits(self) -> int:
        """Credits that are neither spent nor given back."""
        return self.credits - self.spent if self.state is HoldState.OPEN else 0

    @property
    def in_use(self) -> int:
        """Units that count as used: all while it is open, then those that were captured."""
        return self.units if self.state is HoldState.OPEN else self.captured

    @property
    def covered(self) -> int:
        """Of the units in use those that the plan included; they are captured first."""
        return min(self.in_use, self.units - self.charged)

    @property
    def held_covered(self) -> int:
        """Of the units held those that the plan included."""
        return max(0, self.covered - self.captured) if self.state is HoldState.OPEN else 0

    @classmethod
    def of(cls, row: Record | Mapping[str, Any]) -> Self:
        """Read a row of ``holds``, or what ``to_jsonb`` made of one."""
        return cls(
            customer_id=row["customer_id"],
            id=row["id"],
            operation_id=row["operation_id"],
            feature_id=row["feature_id"],
            units=row["units"],
            charged=row["charged"],
            captured=row["captured"],
            at=_instant(row["at"]),
            expires_at=_instant(row["expires_at"]),
            state=HoldState(row["state"]),
            resolved_at=None if row["resolved_at"] is None else _instant(row["resolved_at"]),
            credits=row["credits"],
            spent=row["spent"],
            counted=row["counted"],
            version=row["version"],
            actor=row["actor"],
            correlation_id=row["correlation_id"],
        )


class Change(NamedTuple):
    """What is to be done with one hold; ``units`` None captures all that is left.

    ``final`` gives back what is not captured; ``until`` is for an extension.
    """

    customer_id: int
    hold_id: str
    operation_id: str
    resolution: Resolution
    at: datetime
    fingerprint: str
    expires_at: datetime
    reason: str
    actor: str
    correlation_id: str | None = None
    units: int | None = None
    final: bool = True
    until: datetime | None = None


class Told(NamedTuple):
    """What came of a change; the hold is None where there is no such."""

    outcome: HoldOutcome
    hold: HoldRecord | None


class Holds:
    """The record's side of holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._change = Together[Change, Told](
            self.change_all,
            name=lambda change: (change.customer_id, change.operation_id),
            order=lambda change: change.customer_id,
        )
        self._told = Together[HoldRecord, None](
            self._remember, name=lambda hold: hold.id, order=lambda hold: hold.customer_id
        )

    async def change(self, change: Change) -> Told:
        """Carry out one change; those of one moment travel in one statement.

        Raises: Unavailable; then its outcome is open, and the same operation id finds out.
        """
        return await self._change(change)

    async def change_all(self, changes: Sequence[Change]) -> list[Told]:
        """Carry out each change on its own, in order. Raises: Unavailable, as ``change`` does."""
        args = _args(changes)
        try:
            rows = await self._database.fetch(_sql.resolve, *args)
        except Unavailable:
            # Perhaps only a connection that broke; the same operation ids are answered once.
            rows = await self._database.fetch(_sql.resolve, *args)
        return [_told(row) for row in rows]

    async def change_on(self, conn: Connection, change: Change) -> Told:
        """Carry out one change inside the caller's transaction."""
        rows = await conn.fetch(_sql.resolve, *_args([change]))
        return _told(rows[0])

    async def find(self, customer_id: int, hold_id: str) -> HoldRecord | None:
        """Return one hold, None if the customer has no such."""
        row = await self._database.fetchrow(_sql.find_hold, customer_id, hold_id)
        return None if row is None else HoldRecord.of(row)

    async def list_(
        self,
        customer_id: int,
        first: int,
        *,
        state: HoldState | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> list[HoldRecord]:
        """Return at most ``first`` holds, newest first, older than ``after``."""
        at, hold_id = after or (None, None)
        rows = await self._database.fetch(_sql.holds_of, customer_id, state, at, hold_id, first)
        return [HoldRecord.of(row) for row in rows]

    async def due(self, at: datetime, limit: int) -> list[tuple[int, str]]:
        """Return open holds that have expired by then: customer and id, the oldest first."""
        rows = await self._database.fetch(_sql.due_holds, at, limit)
        return [(row["customer_id"], row["id"]) for row in rows]

    async def untold(self, limit: int) -> list[tuple[str, HoldRecord]]:
        """Return holds whose last change the counters may not know, with the customer's key."""
        rows = await self._database.fetch(_sql.untold_holds, limit)
        return [(row["customer_key"], HoldRecord.of(row)) for row in rows]

    async def told(self, hold: HoldRecord) -> None:
        """Remember that the counters know this change. Raises: Unavailable."""
        await self._told(hold)

    async def _remember(self, holds: Sequence[HoldRecord]) -> list[None]:
        await self._database.execute(
            _sql.told_holds,
            [hold.customer_id for hold in holds],
            [hold.id for hold in holds],
            [hold.version for hold in holds],
        )
        return [None] * len(holds)


def _told(row: Record) -> Told:
    answer = row["answer"]
    return Told(HoldOutcome(row["outcome"]), None if answer is None else HoldRecord.of(answer))


def _instant(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _args(changes: Sequence[Change]) -> list[object]:
    """Return the columns of ``credits_resolve``, in its order."""
    return [
        [c.customer_id for c in changes],
        [c.operation_id for c in changes],
        [c.resolution.value for c in changes],
        [c.hold_id for c in changes],
        [c.at for c in changes],
        [c.fingerprint for c in changes],
        [c.expires_at for c in changes],
        [c.units for c in changes],
        [c.final for c in changes],
        [c.until for c in changes],
        [c.reason for c in changes],
        [c.actor for c in changes],
        [c.correlation_id for c in changes],
    ]
