"""Giving credits, and taking back what is left of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import Bucket
from api.domain.errors import NotFound
from api.infra.postgres import Connection, Record
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post

_sql = Queries.load("ledger")


@dataclass(frozen=True, slots=True)
class NewGrant:
    """Credits to be given once for ``source``: a paid month, a purchase, an operator's act.

    ``features`` are the numbers of those that it pays for; None: all.
    """

    customer_id: int
    source: str
    bucket: Bucket
    priority: int
    units: int
    effective_at: datetime
    why: Why
    expires_at: datetime | None = None
    features: frozenset[int] | None = None


async def give(conn: Connection, grants: Sequence[NewGrant], at: datetime) -> list[int | None]:
    """Give credits, each source once; return the grants' ids, None where it was given before.

    Cost: three statements, whatever the number.
    """
    if not grants:
        return []
    await lock(conn, {grant.customer_id for grant in grants})
    rows = await conn.fetch(
        _sql.add_grants,
        [g.customer_id for g in grants],
        [g.source for g in grants],
        [g.bucket.value for g in grants],
        [g.priority for g in grants],
        [g.units for g in grants],
        [g.effective_at for g in grants],
        [g.expires_at for g in grants],
        ["" if g.features is None else ",".join(map(str, sorted(g.features))) for g in grants],
        [g.why.reason for g in grants],
        [g.why.actor for g in grants],
        [g.why.reference for g in grants],
        [g.why.correlation_id for g in grants],
        at,
    )
    given: dict[tuple[int, str], int] = {(r["customer_id"], r["source"]): r["id"] for r in rows}
    ids = [given.pop((g.customer_id, g.source), None) for g in grants]
    movements = [
        Movement(g.customer_id, Kind.GRANT, grant_id, g.units, at, g.why)
        for g, grant_id in zip(grants, ids, strict=True)
        if grant_id is not None
    ]
    await post(conn, movements)
    return ids


async def revoke(
    conn: Connection,
    customer_id: int,
    grant_id: int,
    credits: int | None,  # noqa: A002 - the field's own word
    why: Why,
    at: datetime,
) -> int:
    """Take back ``credits`` of a grant (None: all), as far as they are left; return how many were.

    What is spent or held stays so. Raises: NotFound.
    """
    await lock(conn, [customer_id])
    grant = await get(conn, customer_id, grant_id)
    left: int = grant["available"]
    taken = left if credits is None else min(credits, left)
    if taken > 0:
        await post(conn, [Movement(customer_id, Kind.REVOKE, grant_id, taken, at, why)])
    return taken


async def restore(
    conn: Connection,
    customer_id: int,
    grant_id: int,
    credits: int,  # noqa: A002 - the field's own word
    why: Why,
    at: datetime,
) -> int:
    """Give back what was taken of a grant, at most ``credits``; return how many were.

    Raises: NotFound.
    """
    await lock(conn, [customer_id])
    given = min(credits, await revoked(conn, customer_id, grant_id))
    if given > 0:
        await post(conn, [Movement(customer_id, Kind.RESTORE, grant_id, given, at, why)])
    return given


async def revoked(conn: Connection, customer_id: int, grant_id: int) -> int:
    """Return what of a grant is taken back now."""
    taken: int = await conn.fetchval(_sql.revoked_of, customer_id, grant_id)
    return taken


async def get(conn: Connection, customer_id: int, grant_id: int) -> Record:
    """Return the row of a grant. Raises: NotFound."""
    row = await conn.fetchrow(_sql.find_grant, customer_id, grant_id)
    if row is None:
        raise NotFound(f"The customer has no grant {grant_id}.")
    return row
