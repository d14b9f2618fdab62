"""Telling the counter store again what customers may do, when an operator asks for it."""

from __future__ import annotations

from datetime import datetime

from api.catalog import audit
from api.catalog.changes import Changes
from api.catalog.customers import MOST_IN_A_PAGE, Customers
from api.catalog.publisher import Publisher
from api.catalog.text import require_reason
from api.infra.postgres import Database
from api.infra.telemetry import correlation_id


class Rebuild:
    """Builds snapshots of customers' rights anew, from the record."""

    def __init__(
        self, database: Database, customers: Customers, changes: Changes, publisher: Publisher
    ) -> None:
        self._database = database
        self._customers = customers
        self._changes = changes
        self._publisher = publisher

    async def all(self, *, at: datetime, actor: str, reason: str, dry_run: bool = False) -> int:
        """Publish every customer's rights again; return how many they are.

        ``dry_run`` only counts them. Safe to repeat. Raises: InvalidInput, Unavailable.
        Cost: per 200 customers one transaction and one turn of script calls.
        """
        why = require_reason(reason)
        done, after = 0, 0
        while page := await self._customers.list_(MOST_IN_A_PAGE, after):
            done += len(page)
            after = page[-1].id
            if dry_run:
                continue
            published = await self._publisher.publish([c.id for c in page], at, anew=True)
            for customer_id in published.overdue:
                await self._changes.publish(customer_id, at, anew=True)
        if not dry_run:
            await self._note(at, actor, why, done)
        return done

    async def _note(self, at: datetime, actor: str, why: str, done: int) -> None:
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="entitlements.rebuild_all",
                reason=why,
                detail={"customers": done},
                correlation_id=correlation_id(),
            )
