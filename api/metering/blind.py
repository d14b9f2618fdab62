"""Units that pass while the counters are out of reach, and their settling afterwards.

They are recorded under their operation id. Settling puts them in the record in one transaction,
then makes the counters forget the customer, so that the next decision fills them from the record;
a crash between the two is finished by the next settling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.infra.packing import pack
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.metering.partitions import Partitions

_sql = Queries.load("blind")
_usage = Queries.load("usage")

MOST_CUSTOMERS = 500


@dataclass(frozen=True, slots=True)
class BlindItem:
    """Units of one feature; ``bound`` is the most that may be unsettled, None is no bound."""

    feature_id: int
    units: int
    bound: int | None


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
    ) -> datetime | str | None:
        """Record ``items`` if each stays within its bound, all or nothing.

        Returns the instant under which they are recorded (the first time's, when repeated), None
        when a bound is reached, or the other fingerprint when the id stands for other contents.
        Raises: Unavailable. Cost: one transaction.
        """
        async with self._database.transaction() as conn:
            for feature_id in sorted({item.feature_id for item in items}):
                await conn.execute(_sql.lock_blind, customer_id, feature_id)
            known = await conn.fetch(_sql.find_blind, customer_id, operation_id)
            if known:
                same = known[0]["fingerprint"] == fingerprint
                first: datetime = known[0]["at"]
                return first if same else str(known[0]["fingerprint"])
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
        return at

    async def unsettled(self) -> list[int]:
        """Return customers with units that the counters may not know, some at a time."""
        rows = await self._database.fetch(_sql.unsettled, MOST_CUSTOMERS)
        return [row["customer_id"] for row in rows]

    async def record(self, customer_id: int) -> int:
        """Put what passed blind into the record, once; return the number of rows."""
        rows = await self._database.fetch(_sql.take_open, customer_id)
        await self._partitions.ensure({row["at"] for row in rows})
        async with self._database.transaction() as conn:
            rows = await conn.fetch(_sql.take_open, customer_id)
            await conn.fetchval(
                _usage.record_events,
                [customer_id for _ in rows],
                [r["operation_id"] for r in rows],
                [r["item"] for r in rows],
                [r["at"] for r in rows],
                [r["feature_id"] for r in rows],
                [r["units"] for r in rows],
                ["consume" for _ in rows],
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
            await conn.execute(_sql.mark_recorded, customer_id)
        return len(rows)

    async def settled(self, customer_id: int) -> None:
        """Note that the counters forgot the customer after ``record``."""
        await self._database.execute(_sql.mark_settled, customer_id)


def _answer(at: datetime, items: int) -> bytes:
    """Return the answer that a blind operation replays: allowed, no figures known."""
    rows: list[list[object]] = [[] for _ in range(items)]
    return pack([1, "", 0, int(at.timestamp() * 1000), *rows])
