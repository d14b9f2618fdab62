"""Units that pass while the counters are out of reach, and their settling afterwards.

They are recorded under their operation id. Settling puts them in the record in one transaction,
then makes the counters forget the customer, so that the next decision fills them from the record;
a crash between the two is finished by the next settling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.infra.packing import pack, unpack
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.metering.partitions import Partitions

_sql = Queries.load("blind")
_usage = Queries.load("usage")

MOST_CUSTOMERS = 500
_FIGURES = 5
"""Where an answer's figures begin, see ``admit.lua``."""


@dataclass(frozen=True, slots=True)
class BlindItem:
    """Units of one feature; ``bound`` is the most that may be unsettled, None is no bound."""

    feature_id: int
    units: int
    bound: int | None


@dataclass(frozen=True, slots=True)
class Passed:
    """Under which instant an operation is recorded; ``rows`` are its figures, where known."""

    at: datetime
    replayed: bool = False
    rows: Sequence[Any] = ()


class Blind:
    """The register of blind operations in PostgreSQL."""

    def __init__(self, database: Database, partitions: Partitions) -> None:
        self._database = database
        self._partitions = partitions

    async def admit(
        self,
        customer_id: int,
        operation_id: str,
        items: Sequence[BlindItem],
        at: datetime,
        fingerprint: str,
        expires_at: datetime | None,
    ) -> Passed | str | None:
        """Record ``items`` if each stays within its bound, all or nothing.

        Returns how they are recorded (as the first time, when repeated, be that from before the
        outage), None when a bound is reached, or the other fingerprint when the id stands for
        other contents.
        Raises: Unavailable. Cost: one transaction.
        """
        async with self._database.transaction() as conn:
            for feature_id in sorted({item.feature_id for item in items}):
                await conn.execute(_sql.lock_blind, customer_id, feature_id)
            known = await _known(conn, customer_id, operation_id, at) if fingerprint else None
            if known is not None:
                contents, passed = known
                return passed if contents == fingerprint else contents
            for item in items:
                if item.bound is not None:
                    open_units = await conn.fetchval(_sql.blind_units, customer_id, item.feature_id)
                    more = sum(i.units for i in items if i.feature_id == item.feature_id)
                    if open_units + more > item.bound:
                        return None
            for place, item in enumerate(items):
                await conn.execute(
                    _sql.record_blind,
                    customer_id,
                    operation_id,
                    item.feature_id,
                    place,
                    item.units,
                    at,
                    fingerprint,
                    expires_at,
                )
        return Passed(at)

    async def unsettled(self, after: int = 0) -> list[int]:
        """Return customers with units that the counters may not know, the next ones after one."""
        rows = await self._database.fetch(_sql.unsettled, after, MOST_CUSTOMERS)
        return [row["customer_id"] for row in rows]

    async def record(self, customer_id: int) -> list[str]:
        """Put what passed blind into the record, once; return the ids of what is in it now.

        A name that the record holds from before is left out: it was counted then.
        """
        rows = await self._database.fetch(_sql.take_unsettled, customer_id)
        await self._partitions.ensure({row["at"] for row in rows})
        async with self._database.transaction() as conn:
            rows = await conn.fetch(_sql.take_unsettled, customer_id)
            ids = list({row["operation_id"] for row in rows})
            rows = await _uncounted(conn, customer_id, [r for r in rows if r["state"] == "open"])
            await conn.fetchval(
                _usage.record_events,
                [customer_id for _ in rows],
                [r["operation_id"] for r in rows],
                [r["item"] for r in rows],
                [r["at"] for r in rows],
                [r["feature_id"] for r in rows],
                [r["units"] for r in rows],
                ["consume" for _ in rows],
                [0 for _ in rows],
            )
            named = {r["operation_id"]: r for r in rows if r["fingerprint"]}.values()
            items = {
                r["operation_id"]: sum(1 for x in rows if x["operation_id"] == r["operation_id"])
                for r in named
            }
            await conn.execute(
                _usage.record_answers,
                [customer_id for _ in named],
                [r["operation_id"] for r in named],
                [r["at"] for r in named],
                [r["expires_at"] for r in named],
                [r["fingerprint"] for r in named],
                [_answer(r["at"], items[r["operation_id"]]) for r in named],
            )
            await conn.execute(_sql.mark_recorded, customer_id, ids)
        return ids

    async def settled(self, customer_id: int, ids: Sequence[str]) -> None:
        """Note that the counters forgot the customer after ``record`` had returned ``ids``."""
        await self._database.execute(_sql.mark_settled, customer_id, ids)


async def _known(
    conn: Connection, customer_id: int, operation_id: str, at: datetime
) -> tuple[str, Passed] | None:
    """Return the contents that this name stands for at ``at`` and how they are recorded."""
    answered = await conn.fetchrow(_usage.find_answer, customer_id, operation_id, at)
    if answered is not None:
        figures = unpack(answered["answer"])[_FIGURES:]
        return str(answered["fingerprint"]), Passed(answered["at"], replayed=True, rows=figures)
    await conn.execute(_sql.drop_expired, customer_id, operation_id, at)
    blind = await conn.fetch(_sql.find_blind, customer_id, operation_id)
    if blind:
        return str(blind[0]["fingerprint"]), Passed(blind[0]["at"], replayed=True)
    return None


async def _uncounted(conn: Connection, customer_id: int, rows: Sequence[Record]) -> list[Record]:
    """Leave out the names that the counters had counted before the outage."""
    named = {row["operation_id"]: row["at"] for row in rows if row["fingerprint"]}
    known = await conn.fetch(
        _sql.counted_before, customer_id, list(named.keys()), list(named.values())
    )
    counted = {row["operation_id"] for row in known}
    return [row for row in rows if row["operation_id"] not in counted]


def _answer(at: datetime, items: int) -> bytes:
    """Return the answer that a blind operation replays: allowed, no figures known."""
    rows: list[list[object]] = [[] for _ in range(items)]
    return pack([1, "", 0, int(at.timestamp() * 1000), 0, *rows])
