"""Bringing every customer to the newest catalog, in batches, after it was applied.

A walk that dies is taken up by the next one: what is left to do is read from the customers' rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from api.catalog import moves
from api.catalog.customers import read_held
from api.catalog.moves import Move
from api.catalog.plan_credits import Judged, Turn, arrive, turn_of
from api.catalog.publisher import Publisher
from api.catalog.revisions import Revision, Revisions
from api.domain.entitlements import entitle
from api.domain.errors import Unavailable
from api.domain.transitions import carried, settle
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("customers")
log = logging.getLogger(__name__)

BATCH = 200

Progress = Callable[[int, int], None]
"""Told how many customers have come to the new catalog, and of how many."""


async def walk(
    database: Database,
    revisions: Revisions,
    publisher: Publisher,
    at: datetime,
    progress: Progress,
) -> int:
    """Move every customer that is behind to the newest catalog; return how many were moved.

    Usage is kept: each is judged by the old catalog and by the new one as of the same instant,
    and its present windows are carried over. Two walks at once share the work.
    Cost: per batch of 200 about ten statements and one turn of script calls.
    """
    newest = await revisions.current()
    total = await database.fetchval(_sql.count_behind, newest.number)
    done = 0
    progress(done, total)
    while await database.fetchval(_sql.any_behind, newest.number):
        moved = await _batch(database, revisions, newest, at)
        done += len(moved)
        try:
            await publisher.publish(moved, at)
        except Unavailable as error:
            log.warning("%d customers are moved and not yet published: %s", len(moved), error)
        progress(done, max(done, total))
    return done


async def _batch(
    database: Database, revisions: Revisions, newest: Revision, at: datetime
) -> list[int]:
    async with database.transaction() as conn:
        rows = await conn.fetch(_sql.lock_behind, newest.number, BATCH)
        held = await read_held(conn, [row["id"] for row in rows], rows)
        made: list[Move] = []
        turns: list[Turn | None] = []
        for customer_id, one in held.items():
            judged_by = await revisions.get(one.customer.catalog_revision, conn)
            settled = settle(judged_by.catalog, one.facts, one.valid_until, at)
            after = entitle(newest.catalog, one.facts, at)
            pins = carried(settled.entitlements, after, settled.pins, at)
            made.append(Move(customer_id, newest.number, after.valid_until, pins))
            before = Judged(judged_by.catalog, one.facts)
            following = Judged(newest.catalog, one.facts)
            turns.append(turn_of(before, following, one.valid_until, at))
        if made:
            await moves.write(conn, made, at)
            await arrive(conn, turns, at)
    return [move.customer_id for move in made]
