"""Grants that an operator voided: nothing of them is spent any more, whatever comes back."""

from __future__ import annotations

from datetime import datetime

from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.infra.telemetry import correlated, correlation_id
from api.ledger.entries import Why, lock
from api.ledger.grants import revoke

_sql = Queries.load("ledger")

MOST_IN_A_TURN = 200
ACTOR = "headroom"


async def void(conn: Connection, customer_id: int, grant_id: int, why: Why, at: datetime) -> int:
    """Take back all that is left of a grant, now and later; return what is left now.

    Raises: NotFound. Cost: four statements.
    """
    await lock(conn, [customer_id])
    left = await revoke(conn, customer_id, grant_id, None, why, at)
    await conn.execute(_sql.mark_voided, customer_id, grant_id, at)
    return left


async def voided_turn(database: Database, at: datetime, position: int) -> int:
    """Take back what came back to voided grants, as from a hold or an action refunded.

    A worker's turn; safe beside other workers, and to repeat. Raises: Unavailable.
    """
    for row in await database.fetch(_sql.voided_with_rest, MOST_IN_A_TURN):
        with correlated():
            why = Why(f"~voided:{row['id']}", "its grant was voided", ACTOR, None, correlation_id())
            async with database.transaction() as conn:
                await revoke(conn, row["customer_id"], row["id"], None, why, at)
    return position
