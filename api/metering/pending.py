"""Pending units that nobody decided: voided by their deadline.

A process that dies between the counters and the decision leaves units counted for nothing. The
journal brought them to the record; past their deadline a tombstone stands there, by which a
decision that comes late fails, the usage is taken back, and the counters are filled anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.ledger.entries import lock
from api.metering.hydration import Hydration
from api.metering.recording import undo_of

_sql = Queries.load("usage")

MOST_IN_A_TURN = 200
KEEP_TOMBSTONES = timedelta(days=1)


class Deadlines:
    """Ends what is pending for too long."""

    def __init__(self, database: Database, hydration: Hydration) -> None:
        self._database = database
        self._hydration = hydration

    async def turn(self, at: datetime) -> int:
        """Void what is overdue, and tell the counters; return how many attempts were looked at.

        Safe with several workers. Raises: Unavailable; what was voided by then stays so.
        """
        rows = await self._database.fetch(_sql.overdue_pending, at, MOST_IN_A_TURN)
        for row in rows:
            if await self._void(row["customer_id"], row["attempt_id"]):
                await self._tell(row["customer_key"], row["customer_id"], row["attempt_id"])
        await self._database.execute(_sql.old_tombstones, at - KEEP_TOMBSTONES)
        return len(rows)

    async def give_up(self, customer: str, customer_id: int, attempt: str) -> None:
        """Void an attempt before its deadline, as the counters that let it pass are gone.

        One that the record does not know yet is left to its deadline. Raises: Unavailable.
        """
        if await self._void(customer_id, attempt):
            await self._tell(customer, customer_id, attempt)

    async def _tell(self, customer: str, customer_id: int, attempt: str) -> None:
        await self._hydration.forget(customer)
        await self._database.execute(_sql.told_pending, customer_id, attempt)

    async def _void(self, customer_id: int, attempt: str) -> bool:
        """Void one attempt unless it was decided; tell whether the counters have to know."""
        async with self._database.transaction() as conn:
            await lock(conn, [customer_id])
            row = await conn.fetchrow(_sql.take_pending, customer_id, attempt)
            if row is None:
                return False
            if row["decided"]:
                await conn.execute(_sql.forget_pending, customer_id, attempt)
                return False
            if row["state"] == "void":
                return True
            facts = zip(row["feature_ids"], row["units"], row["charged"], strict=True)
            await _take_back(conn, customer_id, attempt, row["at"], list(facts))
            return await conn.fetchval(_sql.void_pending, customer_id, attempt) is True


async def _take_back(
    conn: Connection,
    customer_id: int,
    attempt: str,
    at: datetime,
    items: list[tuple[int, int, int]],
) -> None:
    await conn.fetchval(
        _sql.record_events,
        [customer_id for _ in items],
        [undo_of(attempt) for _ in items],
        list(range(len(items))),
        [at for _ in items],
        [feature_id for feature_id, _, _ in items],
        [-units for _, units, _ in items],
        ["release" for _ in items],
        [-charged for _, _, charged in items],
    )
