"""Entries of the journal as the record keeps them: usage, what waits for a decision, answers.

What the record knows already, from an earlier reading or another instant, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.infra.postgres import Connection
from api.infra.queries import Queries
from api.metering.journal import AWAITING, UNDO, Entry

_sql = Queries.load("usage")

DECISION_DEADLINE = timedelta(minutes=2)
"""How long units may be pending: longer than any decision takes that is still under way."""


def undo_of(attempt: str) -> str:
    """Return the name under which the record takes an attempt back, whoever does so."""
    return f"~undo:{attempt}"


async def write(conn: Connection, entries: Sequence[Entry]) -> None:
    """Write these entries, inside the caller's transaction that moves the position with them."""
    entries = await _undecided(conn, await _first_told(conn, entries))
    if not entries:
        return
    undone = [e for e in entries if e.action == UNDO]
    given_up = {(e.customer_id, e.operation_id) for e in undone}
    awaiting = [
        e
        for e in entries
        if e.action in AWAITING and (e.customer_id, e.operation_id) not in given_up
    ]
    if awaiting:
        await _await_decision(conn, awaiting)
    rows = [(e, n, f, u) for e in entries for n, (f, u) in enumerate(e.items) if u != 0]
    await conn.fetchval(
        _sql.record_events,
        [e.customer_id for e, _, _, _ in rows],
        [undo_of(e.operation_id) if e.action == UNDO else e.operation_id for e, _, _, _ in rows],
        [n for _, n, _, _ in rows],
        [e.at for e, _, _, _ in rows],
        [f for _, _, f, _ in rows],
        [-u if e.action == UNDO else u for e, _, _, u in rows],
        ["release" if e.action == UNDO else e.action for e, _, _, _ in rows],
        [_charged(e, n) for e, n, _, _ in rows],
    )
    if awaiting:
        await conn.execute(
            _sql.drop_decided,
            [e.customer_id for e in awaiting],
            [e.operation_id for e in awaiting],
        )
    if undone:
        await conn.execute(
            _sql.end_pending,
            [e.customer_id for e in undone],
            [e.operation_id for e in undone],
            [e.at for e in undone],
        )
    named = [e for e in entries if e.fingerprint]
    if named:
        await conn.execute(
            _sql.record_answers,
            [e.customer_id for e in named],
            [e.operation_id for e in named],
            [e.at for e in named],
            [e.expires_at or datetime.max.replace(tzinfo=UTC) for e in named],
            [e.fingerprint for e in named],
            [e.answer for e in named],
        )


async def _undecided(conn: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Leave out the taking back of attempts that were decided all the same.

    Of two callers that had adopted one attempt, one was refused and the other was not.
    """
    undone = [e for e in entries if e.action == UNDO]
    if not undone:
        return entries
    rows = await conn.fetch(
        _sql.decided_attempts, [e.customer_id for e in undone], [e.operation_id for e in undone]
    )
    decided = {(row["customer_id"], row["attempt_id"]) for row in rows}
    return [
        e for e in entries if e.action != UNDO or (e.customer_id, e.operation_id) not in decided
    ]


async def _await_decision(conn: Connection, entries: Sequence[Entry]) -> None:
    await conn.execute(
        _sql.record_pending,
        [e.customer_id for e in entries],
        [e.operation_id for e in entries],
        [e.at for e in entries],
        [",".join(str(f) for f, _ in e.items) for e in entries],
        [",".join(str(u) for _, u in e.items) for e in entries],
        [",".join(str(_charged(e, n)) for n in range(len(e.items))) for e in entries],
        DECISION_DEADLINE,
    )


def _charged(entry: Entry, item: int) -> int:
    charged = entry.charged[item] if entry.charged else 0
    return -charged if entry.action == UNDO else charged


async def _first_told(conn: Connection, entries: Sequence[Entry]) -> list[Entry]:
    """Leave out named operations that the record holds from another instant already.

    Such a one was counted blind in an outage, and again by counters that had not heard of it.
    """
    named = [e for e in entries if e.fingerprint]
    if not named:
        return list(entries)
    told = await conn.fetch(
        _sql.told_before,
        list(range(len(named))),
        [e.customer_id for e in named],
        [e.operation_id for e in named],
        [e.at for e in named],
    )
    again = {(named[row["place"]].customer_id, named[row["place"]].id) for row in told}
    return [e for e in entries if not e.fingerprint or (e.customer_id, e.id) not in again]
