"""Taking credits from a customer as a whole, whichever grants they come from."""

from __future__ import annotations

from datetime import datetime

from api.domain.credits import Burned
from api.domain.errors import InvalidInput
from api.infra.postgres import Connection, Record
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post

_sql = Queries.load("credits")


async def take(
    conn: Connection,
    customer_id: int,
    credits: int,  # noqa: A002 - the field's own word
    why: Why,
    at: datetime,
) -> list[Burned]:
    """Take back ``credits`` in burn order, all of them or none; return what each grant gave.

    Raises: InvalidInput, where fewer are available.
    """
    await lock(conn, [customer_id])
    taken: list[Burned] = []
    left = credits
    available = 0
    for grant in await conn.fetch(_sql.usable, customer_id, at):
        available += grant["available"]
        part = min(left, grant["available"])
        if part > 0:
            taken.append(Burned(grant["id"], part))
            left -= part
    if left > 0:
        raise InvalidInput(
            f"{credits} credits cannot be taken: {available} are available. Nothing was changed."
        )
    await post(
        conn,
        [Movement(customer_id, Kind.REVOKE, one.grant, one.credits, at, why) for one in taken],
    )
    return taken


async def written(conn: Connection, customer_id: int, operation_id: str) -> list[Record]:
    """Return kind, grant and amount of each entry that an operation wrote, in order."""
    return await conn.fetch(_sql.entries_of_act, customer_id, operation_id)


async def find_given(conn: Connection, customer_id: int, source: str) -> Record | None:
    """Return the grant that was given for ``source``, None where none was."""
    return await conn.fetchrow(_sql.grant_of_source, customer_id, source)


async def outstanding(conn: Connection, customer_id: int) -> int:
    """Return all credits of a customer, available at any time or held."""
    total: int = await conn.fetchval(_sql.outstanding, customer_id)
    return total


async def accounts(conn: Connection, customer_id: int, grant_id: int) -> Record:
    """Return what of a grant is spent, expired and held."""
    row = await conn.fetchrow(_sql.accounts_of_grant, customer_id, grant_id)
    if row is None:
        raise LookupError("a sum without groups has one row")
    return row
