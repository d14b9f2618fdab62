"""What this process cannot serve without, and a sentence for each part that is missing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from api.catalog.revisions import NoCatalog, Revisions
from api.domain import keys
from api.infra.migrations import known_versions
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.redis import NotSent, RedisDoor, outcomes
from api.metering.journal import entry_id
from api.web.parts import Readiness

_sql = Queries.load("readiness")

LAG_SECONDS = 30
"""The drainer is usually milliseconds behind; this late, nobody drains, or the record is lost."""
PATIENCE_SECONDS = 0.6
"""For one server among several; asked three times, it is gone by before a probe's time is up."""


def readiness_of(
    database: Database, door: RedisDoor, revisions: Revisions
) -> Mapping[str, Readiness]:
    """Return the checks of everything that a decision needs."""
    known = set(known_versions())

    async def postgres(_: datetime) -> str | None:
        await database.fetchval(_sql.answers)
        return None

    async def redis(_: datetime) -> str | None:
        # Customers whose shards are out of reach get their features' outage policy; taking this
        # process away would take it from the others as well.
        await door.epochs(patience_seconds=PATIENCE_SECONDS)
        return None

    async def migrations(_: datetime) -> str | None:
        if await database.fetchval(_sql.was_migrated) is None:
            return "No migration was applied; run 'headroom migrate up'."
        applied = {row["version"] for row in await database.fetch(_sql.applied)}
        missing = known - applied
        if missing:
            return f"{len(missing)} migrations are missing; run 'headroom migrate up'."
        return None

    async def catalog(_: datetime) -> str | None:
        try:
            await revisions.current()
        except NoCatalog as error:
            return error.message
        return None

    async def drain(_: datetime) -> str | None:
        lag = await drain_lag_seconds(door)
        if lag <= LAG_SECONDS:
            return None
        return f"The oldest use waits {lag} seconds to be recorded; does a worker run?"

    return {
        "postgres": postgres,
        "redis": redis,
        "migrations": migrations,
        "catalog": catalog,
        "drain": drain,
    }


async def drain_lag_seconds(door: RedisDoor) -> int:
    """Return for how long the oldest entry of any journal waits to be recorded, by Redis' clock.

    Of a cluster, the journals that can be reached, by the clock of the server that has the oldest.
    Cost: one look at each of the 256 journals, in one write to each server, and one more to one.
    Raises: Unavailable, where none can be reached.
    """
    shards = await door.epochs(patience_seconds=PATIENCE_SECONDS)
    if not shards:
        raise NotSent("the counter store is connected, and no shard of it is registered")
    looks = (door.command("XRANGE", keys.journal(s), "-", "+", "COUNT", 1) for s in shards)
    replies = await outcomes(looks, patience_seconds=PATIENCE_SECONDS)
    waiting = [
        (entry_id(reply[0][0])[0] // 1000, shard)
        for shard, reply in zip(shards, replies, strict=True)
        if isinstance(reply, list) and reply
    ]
    if not waiting:
        return 0
    since, shard = min(waiting)
    asked = [door.command("TIME", shard=shard)]
    (now,) = await outcomes(asked, patience_seconds=PATIENCE_SECONDS)
    if isinstance(now, BaseException):
        raise now
    return max(0, int(now[0]) - since)
