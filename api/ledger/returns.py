"""Credits that come back with the units they paid for."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from api.infra.postgres import Connection
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post

_sql = Queries.load("ledger")


class Kept(NamedTuple):
    """Of the ``charged`` units of an operation, how many it kept ``before``, and keeps now."""

    charged: int
    before: int
    now: int


async def give_back(
    conn: Connection, customer_id: int, feature_id: int, kept: Kept, why: Why, at: datetime
) -> int:
    """Return what was paid for units that are given back; how many credits that is.

    What stays paid is the share of the units kept, rounded up to a whole credit: giving back bit
    by bit comes to the same as at once. Where a wrong cost was corrected in between it is the share
    of what was paid still. The grants that burned last get theirs first; one that has expired
    meanwhile loses it again, as all that is left in it.

    ``why.operation_id`` names the consumption. Cost: three statements, under the ledger's lock.
    """
    await lock(conn, [customer_id])
    rows = await conn.fetch(_sql.paid_by, customer_id, why.operation_id, feature_id)
    paid: int = sum(row["spent"] for row in rows)
    still: int = paid - sum(row["returned"] for row in rows)
    corrected = any(row["corrected"] for row in rows)
    base, units = (still, kept.before) if corrected else (paid, kept.charged)
    stays: int = -(-base * kept.now // units) if units else 0
    back: int = max(0, still - stays)
    movements = []
    left: int = back
    for row in reversed(rows):
        part = min(left, row["spent"] - row["returned"])
        if part > 0:
            movement = Movement(customer_id, Kind.RETURN, row["grant_id"], part, at, why)
            given = kept.before - kept.now
            movements.append(movement._replace(feature_id=feature_id, units=given))
            left -= part
    await post(conn, movements)
    return back - left
