"""Claiming events that are due, under a lock on the object they are about.

The lock is a row, not a transaction: the provider can be asked while it is held and no connection
waits. It is taken before the object is read and confirmed, inside the writing transaction, by its
token. A holder that was too slow, or died, is overtaken; what it read is then not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from api.billing.problems import UnknownPayer
from api.billing.provider import Payload
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("billing")

HELD_FOR = timedelta(seconds=30)
"""How long a lock outlives its holder; more than reading an object takes."""

MOST_ATTEMPTS = 8
LONGEST_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class DueEvent:
    """One event to be handled; ``attempts`` counts this one."""

    id: int
    event_id: str
    type: str
    version: str | None
    created_at: datetime
    attempts: int
    correlation_id: str | None
    payload: Payload
    later: bool = False
    """Nobody waits for it: see ``looks.look``."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The due events about one object, and the token of the lock on it."""

    object_id: str
    token: UUID
    events: tuple[DueEvent, ...]

    @property
    def later(self) -> bool:
        """Whether nobody waits for any of them."""
        return all(event.later for event in self.events)


class LockLost(Exception):
    """Somebody else holds the object now, and will read it anew: write nothing."""


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: 2, 4, 8, … seconds, at most ten minutes."""
    return min(timedelta(seconds=2 ** min(attempts, 20)), LONGEST_PAUSE)


class Claims:
    """The queue of one provider's events."""

    def __init__(self, database: Database, provider: str) -> None:
        self._database = database
        self._provider = provider

    async def take(self, at: datetime, most: int, most_later: int | None = None) -> list[Claim]:
        """Claim at most ``most`` due events, grouped by object. Raises: Unavailable.

        At most ``most_later`` of them are such as nobody waits for; None: as many as there are.
        No two workers hold claims on one object. Cost: three statements in one transaction.
        """
        held_until = at + HELD_FOR
        async with self._database.transaction() as conn:
            rows = await conn.fetch(_sql.due, self._provider, at, most)
            if most_later is not None:
                now = [row for row in rows if not row["later"]]
                rows = now + [row for row in rows if row["later"]][:most_later]
            wanted = sorted({row["object_id"] for row in rows})
            if not wanted:
                return []
            locked = await conn.fetch(_sql.lock_objects, self._provider, wanted, at, held_until)
            tokens: dict[str, UUID] = {row["object_id"]: row["token"] for row in locked}
            claimed = [row["id"] for row in rows if row["object_id"] in tokens]
            await conn.execute(_sql.claim, claimed, held_until)
        return [
            Claim(
                object_id,
                token,
                tuple(_event(row) for row in rows if row["object_id"] == object_id),
            )
            for object_id, token in tokens.items()
        ]

    async def confirm(self, conn: Connection, claim: Claim) -> None:
        """Make the lock last until the caller's transaction ends. Raises: LockLost."""
        held = await conn.fetchval(_sql.still_held, self._provider, claim.object_id, claim.token)
        if held is None:
            raise LockLost

    async def give_back(self, claim: Claim) -> None:
        """Release the object; the next holder reads it anew."""
        await self._database.execute(_sql.unlock, self._provider, claim.object_id, claim.token)

    async def abandon(self, claim: Claim, at: datetime) -> None:
        """Give the object back with its events, as if none had been tried.

        Raises: LockLost, where they are somebody else's already; Unavailable.
        """
        async with self._database.transaction() as conn:
            await self.confirm(conn, claim)
            await conn.execute(_sql.release, [event.id for event in claim.events], at)
            await conn.execute(_sql.unlock, self._provider, claim.object_id, claim.token)

    async def again(self, events: Sequence[DueEvent], at: datetime) -> None:
        """Have events tried again at once, as if this attempt had not been made."""
        await self._database.execute(_sql.release, [event.id for event in events], at)

    async def redirect(self, events: Sequence[DueEvent], object_id: str, at: datetime) -> None:
        """Have events wait for the lock on the object that they turned out to be about."""
        await self._database.execute(_sql.redirect, [event.id for event in events], object_id, at)

    async def fail(
        self,
        events: Sequence[DueEvent],
        problem: str,
        error: str,
        at: datetime,
        *,
        park: bool | None,
    ) -> None:
        """Keep events with what hinders them; ``park`` None decides by the attempts made."""
        await self._fail(self._database, events, (problem, error), at, park=park)

    async def fail_unknown(
        self, events: Sequence[DueEvent], error: UnknownPayer, at: datetime
    ) -> None:
        """Keep events whose customer is unknown, unless it became known this very moment."""
        async with self._database.transaction() as conn:
            if error.waits_for is not None:
                await conn.execute(_sql.lock_name, self._provider, error.waits_for)
                linked = await conn.fetchval(_sql.linked, self._provider, error.waits_for)
                if linked is not None:
                    await conn.execute(_sql.release, [event.id for event in events], at)
                    return
            await self._fail(conn, events, (error.problem, error.message), at, park=None)

    async def _fail(
        self,
        on: Database | Connection,
        events: Sequence[DueEvent],
        why: tuple[str, str],
        at: datetime,
        *,
        park: bool | None,
    ) -> None:
        parked = [event.attempts >= MOST_ATTEMPTS if park is None else park for event in events]
        await on.execute(
            _sql.failed,
            [event.id for event in events],
            ["parked" if p else "failed" for p in parked],
            [at + pause_after(event.attempts) for event in events],
            *why,
            at,
        )


def _event(row: Record) -> DueEvent:
    return DueEvent(
        id=row["id"],
        event_id=row["event_id"],
        type=row["type"],
        version=row["api_version"],
        created_at=row["provider_created_at"],
        attempts=row["attempts"] + 1,
        correlation_id=row["correlation_id"],
        payload=row["payload"],
        later=row["later"],
    )
