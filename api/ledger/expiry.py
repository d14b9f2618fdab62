"""Credits end by an entry, never by an edit.

A balance counts what has expired as zero from that instant on; the entry follows. What comes back
to a grant that has expired meanwhile is expired by another entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post

_sql = Queries.load("credits")

BATCH = 200
ACTOR = "headroom"
_RECENT = timedelta(hours=2)
_HOUR_SECONDS = 3600


async def expire(
    database: Database, at: datetime, limit: int = BATCH, *, since: datetime | None = None
) -> int:
    """Enter as expired what is left of at most ``limit`` grants past their time.

    With ``since`` only those that ended after it are looked at. Returns how many grants were due;
    fewer than ``limit`` says that none are left. Safe beside other workers, and to repeat.
    Cost: one transaction of four statements.
    """
    due = await database.fetch(_sql.due_to_expire, at, limit, since)
    if not due:
        return 0
    async with database.transaction() as conn:
        await expire_on(conn, [(row["customer_id"], row["id"]) for row in due], at)
    return len(due)


async def expire_on(conn: Connection, grants: Sequence[tuple[int, int]], at: datetime) -> None:
    """Enter as expired what is left of those (customer, grant) that are past their time.

    Inside the caller's transaction. Cost: three statements.
    """
    customers, ids = [customer for customer, _ in grants], [grant for _, grant in grants]
    await lock(conn, customers)
    rows = await conn.fetch(_sql.expire_due, customers, ids, at)
    movements = [
        Movement(
            row["customer_id"],
            Kind.EXPIRE,
            row["id"],
            row["available"],
            at,
            Why(f"~expire:{row['id']}:{row['before'] + 1}", "expired", ACTOR),
        )
        for row in rows
    ]
    await post(conn, movements)


async def expiry_turn(database: Database, at: datetime, position: int) -> int:
    """Expire all that is due: a worker's turn; ``position`` is the hour of the last full look.

    Once an hour every expired grant is looked at, for what came back to it late; otherwise those
    that ended of late.
    """
    hour = int(at.timestamp()) // _HOUR_SECONDS
    since = at - _RECENT if hour == position else None
    while await expire(database, at, since=since) == BATCH:
        pass
    return hour
