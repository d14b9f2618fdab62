"""Events that were never delivered: fetched from the provider's own list, and stored once.

A cursor says up to when the list was read whole. Each pass begins a while before it, as an event
may be listed late, and moves it only when the pass is done: one that dies is repeated. What the
list no longer reaches is said, as only a comparison of the objects can find it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from api.billing.inbox import Inbox
from api.billing.problems import Unapplicable
from api.billing.provider import ProviderEvent
from api.catalog import audit
from api.catalog.alerts import Severity, alert, window_of
from api.domain.errors import InvalidInput
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id, counter

_sql = Queries.load("catch_up")
log = logging.getLogger(__name__)

EVERY = timedelta(minutes=10)
OVERLAP = timedelta(hours=1)
"""How much of what was read before is read again."""

FIRST_LOOK = timedelta(days=1)
"""How far back the first pass looks at least."""

_CURSOR = "events"
_missed = counter("billing_webhook_missed", "Events found in the provider's list only.", ["type"])


class EventList(Protocol):
    """The provider's own list of what it told. Failure policy: that of ``Provider``."""

    @property
    def name(self) -> str:
        """The word that stands for the provider in the record."""
        ...

    @property
    def reads(self) -> bool:
        """Whether it can be asked."""
        ...

    @property
    def reach(self) -> timedelta:
        """How far back the list goes."""
        ...

    def events_since(self, since: datetime) -> AsyncGenerator[Sequence[ProviderEvent]]:
        """Yield the events created since then, by page, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a pass found; ``beyond_reach``: it should have begun before the list does."""

    since: datetime
    listed: int
    missed: int
    beyond_reach: bool


class CatchUp:
    """Reads the list by itself now and then, and when an operator says so."""

    def __init__(self, database: Database, inbox: Inbox, listed: EventList) -> None:
        self._database = database
        self._inbox = inbox
        self._list = listed
        self._begun = False

    async def turn(self, at: datetime) -> int:
        """Catch up at the first turn, then at intervals; return how many had been missed.

        Raises: Unavailable. Cost: one statement where it is not yet time.
        """
        if not self._list.reads:
            return 0
        seen = await self._database.fetchrow(_sql.cursor, self._list.name, _CURSOR)
        if self._begun and seen is not None and at - seen["seen_at"] < EVERY:
            return 0
        self._begun = True
        try:
            return (await self._read(await self._since(at), at)).missed
        except Unapplicable as error:
            # Asked again at the next turn; nothing is lost, as the cursor stays.
            await alert(
                self._database,
                "catch_up_failed",
                f"The provider's list of events could not be read: {error.message}",
                at=at,
                period=window_of(at, timedelta(days=1)),
            )
            return 0

    async def since(
        self, since: datetime | None, *, actor: str, reason: str, at: datetime
    ) -> CaughtUp:
        """Catch up from an instant, or (None) from where the last pass ended, on record.

        Raises: Unavailable, InvalidInput.
        """
        if not self._list.reads:
            raise InvalidInput("The provider's list cannot be read without a key to it.")
        if since is not None and since > at:
            raise InvalidInput("An instant to catch up from lies in the past.")
        begin = await self._since(at) if since is None else since.astimezone(UTC)
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="webhooks.catch_up",
                reason=reason,
                detail={"since": begin.isoformat()},
                correlation_id=correlation_id(),
            )
        return await self._read(begin, at)

    async def _since(self, at: datetime) -> datetime:
        known = await self._database.fetchrow(_sql.cursor, self._list.name, _CURSOR)
        if known is not None:
            return _instant(known["reached_at"]) - OVERLAP
        last = await self._database.fetchval(_sql.last_arrival, self._list.name)
        return min(at - FIRST_LOOK, _instant(last) - OVERLAP if last is not None else at)

    async def _read(self, since: datetime, at: datetime) -> CaughtUp:
        beyond = since < at - self._list.reach
        due = await self._since(at)
        listed = missed = 0
        async for page in self._list.events_since(max(since, at - self._list.reach)):
            for event in page:
                listed += 1
                # What nothing follows from would only fill the record.
                if self._inbox.concerns(event) and await self._inbox.take(event, at):
                    missed += 1
                    _missed.labels(event.type).inc()
        found = CaughtUp(since, listed, missed, beyond)
        async with self._database.transaction() as conn:
            # An operator's pass may have begun later than the cursor, or than a first pass would,
            # so it moves nothing then.
            known = await conn.fetchrow(_sql.cursor, self._list.name, _CURSOR)
            if since <= (due if known is None else known["reached_at"]):
                await conn.execute(_sql.move_cursor, self._list.name, _CURSOR, at, at)
            hour = window_of(at, timedelta(hours=1))
            if missed:
                await alert(
                    conn,
                    "webhooks_missed",
                    f"{missed} events were in the provider's list and were never delivered; they "
                    "are applied now. Look at the endpoint and its deliveries at the provider.",
                    at=at,
                    period=hour,
                    detail={"missed": missed, "since": since.isoformat()},
                )
            if beyond:
                await alert(
                    conn,
                    "webhooks_beyond_reach",
                    f"Events since {since.isoformat()} were not all read, and the provider lists "
                    f"them for {self._list.reach.days} days only: run `headroom sync all`.",
                    at=at,
                    period=hour,
                    severity=Severity.CRITICAL,
                    detail={"since": since.isoformat()},
                )
        log.info("caught up with the provider's events", extra=asdict(found))
        return found


def _instant(value: datetime) -> datetime:
    return value.astimezone(UTC)
