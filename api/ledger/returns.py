"""Credits that come back with the units they paid for."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from api.infra.postgres import Connection
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post

_sql = Queries.load("ledger")


class Kept(NamedTuple):
    """Of the units that an operation paid for with credits, how many it keeps."""

    charged: int
    kept: int


async def give_back(
    conn: Connection, customer_id: int, feature_id: int, kept: Kept, why: Why, at: datetime
) -> int:
    """Return what was paid for units that are given back; how many credits that is.

    What stays paid is the share of the units kept, rounded up to a whole credit: giving back bit
    by bit comes to the same as at once. The grants that burned last get theirs first; one that has
    expired meanwhile loses it again, as all that is left in it.

    ``why.operation_id`` names the consumption. Cost: three statements, under the ledger's lock.
    """
    await lock(conn, [customer_id])
    rows = await conn.fetch(_sql.paid_by, customer_id, why.operation_id, feature_id)
    paid: int = sum(row["spent"] for row in rows)
    stays: int = -(-paid * kept.kept // kept.charged) if kept.charged else 0
    back: int = max(0, paid - stays - sum(row["returned"] for row in rows))
    movements = []
    left: int = back
    for row in reversed(rows):
        part = min(left, row["spent"] - row["returned"])
        if part > 0:
            movement = Movement(customer_id, Kind.RETURN, row["grant_id"], part, at, why)
            units = kept.charged - kept.kept
            movements.append(movement._replace(feature_id=feature_id, units=units))
            left -= part
    await post(conn, movements)
    return back - left
