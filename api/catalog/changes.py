"""The one way in which a customer's rights change, whatever the reason.

Lock the customer, live through what changed by itself meanwhile, judge the rights before, let the
change write, judge them after, carry the present windows over, count the version up, and give the
credits that have come due: all in one transaction. After its commit the snapshot is published; if
that fails, or the process dies in between, a worker publishes later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from api.catalog import audit, customers, moves, overrides
from api.catalog.customers import Customer, CustomerInput, read_held
from api.catalog.moves import Move
from api.catalog.overrides import OverrideRecord
from api.catalog.plan_credits import Judged, arrive, turn_of
from api.catalog.publisher import Publisher
from api.catalog.revisions import Revisions
from api.catalog.text import require_reason
from api.catalog.walk import Progress, walk
from api.domain.entitlements import Entitlements, OverrideFacts, entitle
from api.domain.errors import NotFound, Unavailable
from api.domain.plan_credits import brings_any
from api.domain.snapshot import Snapshot
from api.domain.transitions import carried, settle
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries

_sql = Queries.load("customers")
log = logging.getLogger(__name__)

Mutation = Callable[[Connection], Awaitable[None]]
"""Writes whatever the change consists of, on the connection it is given."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did: the version that stands, and the rights before and after.

    ``changed`` is False where the facts came out as they were: then nothing is to be published.
    """

    customer_id: int
    version: int
    changed: bool
    before: Entitlements
    after: Entitlements


class Changes:
    """Changes what customers may do. Every method may raise ``Unavailable``."""

    def __init__(self, database: Database, revisions: Revisions, publisher: Publisher) -> None:
        self._database = database
        self._revisions = revisions
        self._publisher = publisher

    async def change(self, customer_id: int, at: datetime, mutate: Mutation) -> Changed:
        """Change one customer's rights in a transaction of its own, and publish them.

        Raises: UnknownCustomer, and whatever ``mutate`` raises: then nothing has changed.
        """
        async with self._database.transaction() as conn:
            changed = await self.change_on(conn, customer_id, at, mutate)
        await self.tell(customer_id, at)
        return changed

    async def change_on(
        self, conn: Connection, customer_id: int, at: datetime, mutate: Mutation
    ) -> Changed:
        """Change one customer's rights inside the caller's transaction, of read committed.

        The caller calls ``tell`` after its commit. The customer comes to the newest catalog.
        Cost: about ten statements, and eight more where plans bring credits; the
        customer's row stays locked until the commit.
        """
        row = await conn.fetchrow(_sql.lock, customer_id)
        if row is None:
            raise customers.unknown(str(customer_id))
        judged_by = await self._revisions.get(row["catalog_revision"], conn)
        newest = await self._revisions.get(row["newest_revision"], conn)
        held = (await read_held(conn, [customer_id], [row]))[customer_id]
        settled = settle(judged_by.catalog, held.facts, held.valid_until, at)
        await mutate(conn)
        facts = (await read_held(conn, [customer_id]))[customer_id].facts
        after = entitle(newest.catalog, facts, at)
        changed = (
            facts != held.facts
            or newest.number != judged_by.number
            or after.valid_until != held.valid_until
        )
        version = held.customer.version
        if changed:
            pins = carried(settled.entitlements, after, settled.pins, at)
            move = Move(customer_id, newest.number, after.valid_until, pins)
            version = (await moves.write(conn, [move], at))[customer_id]
            before = Judged(judged_by.catalog, held.facts)
            turn = turn_of(before, Judged(newest.catalog, facts), held.valid_until, at)
            await arrive(conn, [turn], at)
        return Changed(customer_id, version, changed, settled.entitlements, after)

    async def publish(self, customer_id: int, at: datetime, *, anew: bool = False) -> Snapshot:
        """Have the counter store know what this customer may do now, and return what it was told.

        What changed by itself meanwhile is lived through first. ``anew`` also replaces what
        stands there as newer, or as built in this second.
        Raises: UnknownCustomer, Unavailable.
        """
        published = await self._publisher.publish([customer_id], at, anew=anew)
        if published.overdue:
            await self._settle(customer_id, at)
            published = await self._publisher.publish([customer_id], at, anew=anew)
        if customer_id not in published.snapshots:
            raise customers.unknown(str(customer_id))
        return published.snapshots[customer_id]

    async def tell(self, customer_id: int, at: datetime) -> None:
        """Publish after a commit; where that is not possible now, a worker will.

        The change stands in the record whatever happens here, so nobody is told that it failed.
        """
        try:
            await self.publish(customer_id, at)
        except Unavailable as error:
            log.warning("customer %d is changed and not yet published: %s", customer_id, error)

    async def publish_pending(self, at: datetime, limit: int = 200) -> int:
        """Publish what a crash or an outage left, and what changed by itself; return how many.

        Raises: Unavailable.
        """
        overdue = await self._database.fetch(_sql.changed_silently, at, limit)
        for row in overdue:
            await self._settle(row["id"], at)
        pending = await self._database.fetch(_sql.unpublished, limit)
        if pending:
            await self._publisher.publish([row["id"] for row in pending], at)
        return len(pending)

    async def walk(self, at: datetime, progress: Progress = lambda _done, _total: None) -> int:
        """Bring every customer to the newest catalog; return how many were behind.

        Safe to repeat, and to resume after a crash. Raises: NoCatalog, Unavailable.
        """
        return await walk(self._database, self._revisions, self._publisher, at, progress)

    async def upsert_customer(
        self, given: CustomerInput, at: datetime, actor: str, reason: str = "told by the product"
    ) -> Customer:
        """Create a customer, or change what is given of it; the same twice changes nothing more.

        Raises: InvalidInput.
        """
        async with self._database.transaction() as conn:
            newest = await self._revisions.newest_on(conn)
            given = customers.checked(newest.catalog, given)
            known = await customers.find_on(conn, given.key)
            if known is None and not await customers.add(conn, newest, given, at):
                known = await customers.find_on(conn, given.key)  # somebody else was first
            if known is not None:
                if not customers.differs(known, given):
                    return known
                describe = partial(customers.describe, customer_id=known.id, given=given, at=at)
                await self.change_on(conn, known.id, at, describe)
            written = await customers.get_on(conn, given.key)
            if known is None and brings_any(newest.catalog):
                await self.change_on(conn, written.id, at, _nothing)
                written = await customers.get_on(conn, given.key)
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="customer.create" if known is None else "customer.change",
                reason=reason,
                customer_id=written.id,
                # Neither name nor address: the log is kept when a person is forgotten.
                detail={"type": written.type, "timezone": written.timezone},
            )
        await self.tell(written.id, at)
        return written

    async def set_override(
        self, customer_key: str, override: OverrideFacts, *, at: datetime, actor: str, reason: str
    ) -> Customer:
        """Promise one customer something about one feature, in place of any earlier promise.

        Raises: UnknownCustomer, UnknownFeature, InvalidInput.
        """
        why = require_reason(reason)
        async with self._database.transaction() as conn:
            newest = await self._revisions.newest_on(conn)
            promised = overrides.checked(newest.catalog, override, at)
            customer = await customers.get_on(conn, customer_key)
            record = OverrideRecord(customer.id, promised, why, actor, at)
            await self.change_on(conn, customer.id, at, partial(overrides.put, record=record))
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="override.set",
                reason=why,
                customer_id=customer.id,
                detail=overrides.document(promised),
            )
            written = await customers.get_on(conn, customer_key)
        await self.tell(customer.id, at)
        return written

    async def clear_override(
        self, customer_key: str, feature: str, *, at: datetime, actor: str, reason: str
    ) -> Customer:
        """Take a promise back. Raises: UnknownCustomer, NotFound, InvalidInput."""
        why = require_reason(reason)
        async with self._database.transaction() as conn:
            customer = await customers.get_on(conn, customer_key)
            cleared: list[OverrideRecord] = []

            async def clear(on: Connection) -> None:
                found = await overrides.clear(on, customer.id, feature)
                if found is None:
                    raise NotFound(f"The customer has no override of {feature[:200]!r}.")
                cleared.append(found)

            await self.change_on(conn, customer.id, at, clear)
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="override.clear",
                reason=why,
                customer_id=customer.id,
                detail=overrides.document(cleared[0].facts),
            )
            written = await customers.get_on(conn, customer_key)
        await self.tell(customer.id, at)
        return written

    async def _settle(self, customer_id: int, at: datetime) -> None:
        async with self._database.transaction() as conn:
            await self.change_on(conn, customer_id, at, _nothing)


async def _nothing(_conn: Connection) -> None:
    """Change nothing: what time has changed by itself is all there is to write."""
