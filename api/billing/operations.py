"""The journal of what is asked of the provider: written before it is asked.

An operation is ``pending`` until an answer is known. Its own id is the provider's idempotency key,
so an unknown outcome is found out by asking again: at once a caller, later the worker. ``answered``
becomes ``confirmed`` when the object was read after the answer, in the transaction that wrote it;
``refused`` is for good, and ``unknown`` what never had an answer. Nothing else is written here: the
object's state comes by its events. One object has one pending operation at most, so that an older
one is never done after a newer one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from api.billing.acts import Action, Acts, Planned
from api.billing.claims import pause_after
from api.billing.journaled import (
    Operation,
    OperationWaits,
    Wish,
    named,
    operation_of,
    outcome,
    same,
)
from api.billing.looks import Look, look
from api.billing.problems import (
    NotAtProvider,
    ProviderRefused,
    RequestRefused,
    Unapplicable,
)
from api.catalog import audit
from api.domain.errors import HeadroomError, InvalidInput, Unavailable
from api.infra.clock import Clock
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlated, correlation_id, counter

__all__ = ["Operation", "Operations", "Wish", "confirm"]

_sql = Queries.load("operations")
log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
"""How long whoever asks has an operation for itself; more than all calls of one action take."""

KEYS_KEPT = timedelta(hours=23)
"""How long the provider knows an idempotency key, with an hour to spare."""

MOST_AT_ONCE = 8
_MOST_KEY = 255
_MOST_ERROR = 1000
_PAGES = (Action.CHECKOUT, Action.PORTAL)
_NEVER_LEARNT = (
    "The outcome was never learnt, and it may have been done: look at the object at the payment "
    "provider before asking again."
)

_ended = counter("billing_operations", "Attempts at an action, by outcome.", ["action", "outcome"])


class Operations:
    """Asks one provider, and knows what became of it."""

    def __init__(self, database: Database, acts: Acts, clock: Clock) -> None:
        """Take a ``clock`` beside each ``at``: an answer has an instant of its own."""
        self._database = database
        self._clock = clock
        self.acts = acts

    async def known(self, wish: Wish) -> Operation | None:
        """Return what the wish's key began; None where it is to be judged, and carried out.

        Asked before the wish is judged by the record: what was done may have changed that.
        Raises: InvalidInput, and as ``carry_out``.
        """
        if wish.key is not None and not 0 < len(wish.key) <= _MOST_KEY:
            raise InvalidInput(f"An idempotency key has 1 to {_MOST_KEY} characters.")
        found = await self._by_key(self._database, wish)
        return None if found is None else same(found, wish)

    async def carry_out(self, wish: Wish, told: Mapping[str, Any], at: datetime) -> Operation:
        """Journal a wish and ask the provider; ``told`` is the wish with all that we know.

        The same key gives the operation that it began, also while that is pending; without a key
        the same wish gives the one that is pending. What waits on the same object goes first.
        Raises: ProviderRefused, OutcomeUnknown, OperationWaits, IdempotencyConflict, InvalidInput;
        Unavailable, which says so where something was begun. Cost: two transactions around the
        provider's calls, and what waits.
        """
        self.expect_provider()
        known = await self.known(wish)
        if known is None and wish.key is None:
            known = await self._repeated(wish, at)
        if known is not None:
            return known
        await self._settle_earlier(told, at)
        planned = await self._planned(wish, told, at)
        async with self._database.transaction() as conn:
            row = await self._begin(conn, wish, planned, at)
            known = None if row is not None else await self._instead(conn, wish, planned)
        if row is None:
            if known is None:
                raise Unavailable("Another operation took its place and ended; try again.")
            return known
        operation = operation_of(row)
        try:
            return outcome(await self._attempt(operation, at))
        except Unavailable as error:
            raise Unavailable(
                f"{operation.id} was begun, and what came of it could not be recorded: it is ended "
                "by itself. Ask for it under that id, or again with the same idempotency key."
            ) from error

    def expect_provider(self) -> None:
        """Go on only where a provider can be asked. Raises: Unavailable."""
        if not self.acts.answers:
            raise Unavailable("No payment provider is configured: set STRIPE_SECRET_KEY.")

    async def run_once(self, at: datetime) -> int:
        """Ask again for what is still pending; return how many. Raises: Unavailable."""
        if not self.acts.answers:
            return 0
        rows = await self._database.fetch(_sql.due, self.acts.name, at, at + LEASE, MOST_AT_ONCE)
        for row in rows:
            await self._end(operation_of(row), at)
        return len(rows)

    async def find(self, operation_id: str) -> Operation | None:
        """Return one operation by its id."""
        row = await self._database.fetchrow(_sql.find, operation_id)
        return None if row is None else operation_of(row)

    async def pending_of(self, customer_ids: Sequence[int]) -> dict[int, list[Operation]]:
        """Return what each customer waits for, oldest first; an entry for each id given."""
        found: dict[int, list[Operation]] = {number: [] for number in customer_ids}
        for row in await self._database.fetch(_sql.pending_of, list(customer_ids)):
            found[row["customer_id"]].append(operation_of(row))
        return found

    async def list_(
        self,
        first: int,
        *,
        customer_id: int | None = None,
        state: str | None = None,
        before: int | None = None,
    ) -> list[Operation]:
        """Return at most ``first`` operations, the newest first."""
        behind = 2**63 - 1 if before is None else before
        rows = await self._database.fetch(_sql.page, behind, customer_id, state, first)
        return [operation_of(row) for row in rows]

    async def _repeated(self, wish: Wish, at: datetime) -> Operation | None:
        """Return the pending operation of the very same wish, asked again where nobody does."""
        row = await self._database.fetchrow(
            _sql.pending_same, self.acts.name, wish.scope, wish.fingerprint
        )
        if row is None:
            return None
        found = operation_of(row)
        if not found.is_asked(at):
            return outcome(await self._take_up(found, at))
        # Another page does nothing by itself, and is asked for by another window.
        return None if wish.action in _PAGES else found

    async def _settle_earlier(self, told: Mapping[str, Any], at: datetime) -> None:
        """Have what waits on the wish's object decided first. Raises: OperationWaits."""
        about = named(told)
        if about is None:
            return
        row = await self._database.fetchrow(_sql.pending_on, self.acts.name, about[1])
        if row is None:
            return
        earlier = operation_of(row)
        if not earlier.is_asked(at):
            earlier = await self._take_up(earlier, at)
        if earlier.state == "pending":
            raise OperationWaits(earlier)

    async def _take_up(self, operation: Operation, at: datetime) -> Operation:
        row = await self._database.fetchrow(_sql.take_up, operation.number, at + LEASE)
        return operation if row is None else await self._end(operation_of(row), at)

    async def _planned(self, wish: Wish, told: Mapping[str, Any], at: datetime) -> Planned:
        try:
            return await self.acts.plan(wish.action, told)
        except (ProviderRefused, Unapplicable) as error:
            about = named(told)
            if about is not None and not isinstance(error, NotAtProvider):
                # What is kept here let it be asked, so it may be old.
                async with self._database.transaction() as conn:
                    await look(conn, self.acts.name, about[0], [about[1]], at, soon=True)
            raise RequestRefused(error.message, declined=False) from error

    async def _instead(self, conn: Connection, wish: Wish, planned: Planned) -> Operation | None:
        """Return what was begun meanwhile under the same key. Raises: OperationWaits."""
        known = await self._by_key(conn, wish)
        if known is not None:
            return same(known, wish)
        row = await conn.fetchrow(_sql.pending_on, self.acts.name, planned.object_id)
        if row is None:
            return None
        earlier = operation_of(row)
        if wish.key is None and earlier.fingerprint == wish.fingerprint:
            return earlier
        raise OperationWaits(earlier)

    async def _begin(
        self, conn: Connection, wish: Wish, planned: Planned, at: datetime
    ) -> Record | None:
        operation_id = f"op_{uuid4().hex}"
        request = {"call": dict(planned.request), "look": planned.look}
        row = await conn.fetchrow(
            _sql.begin,
            operation_id,
            self.acts.name,
            wish.customer_id,
            wish.action.value,
            planned.object_id,
            request,
            wish.scope,
            wish.key,
            wish.fingerprint,
            at + LEASE,
            wish.actor,
            wish.reason,
            correlation_id(),
            at,
        )
        if row is not None:
            await audit.record(
                conn,
                at=at,
                actor=wish.actor,
                action=f"billing.{wish.action}",
                reason=wish.reason,
                customer_id=wish.customer_id,
                detail={"operation": operation_id, **wish.said},
                correlation_id=correlation_id(),
            )
        return row

    async def _end(self, operation: Operation, at: datetime) -> Operation:
        """Ask again for what is pending, or give it up; not even a bug stops who goes on."""
        with correlated(operation.correlation_id):
            if at - operation.created_at > KEYS_KEPT:
                return await self._give_up(operation, at)
            attempt = self._attempt(operation, at)
            (found,) = await asyncio.gather(attempt, return_exceptions=True)
            match found:
                case Operation():
                    return found
                case Exception() if not isinstance(found, Unavailable):
                    log.error("an operation could not be asked again", exc_info=found)
                    said = f"{type(found).__name__}: {found}"[:_MOST_ERROR]
                    return await self._later(operation, said, at, "bug")
                case _:
                    raise found

    async def _attempt(self, operation: Operation, at: datetime) -> Operation:
        try:
            call = operation.request["call"]
            answer = await self.acts.perform(operation.action, call, operation.id)
        except ProviderRefused as error:
            return await self._refuse(operation, error, at, declined=error.declined)
        except Unapplicable as error:
            return await self._refuse(operation, error, at, declined=False)
        except Unavailable as error:
            return await self._later(operation, error.message, at, "unknown")
        # Not ``at``: whoever began to read the object while this was asked may have read it before.
        answered_at = self._clock.now()
        kind = operation.request["look"]
        async with self._database.transaction() as conn:
            state = "confirmed" if kind is None else "answered"
            row = await conn.fetchrow(
                _sql.answered, operation.number, state, dict(answer), answered_at
            )
            await self._look(conn, operation, answered_at)
        return await self._kept(operation, row, "answered")

    async def _later(self, operation: Operation, error: str, at: datetime, why: str) -> Operation:
        row = await self._database.fetchrow(
            _sql.later, operation.number, at + pause_after(operation.attempts), error
        )
        return await self._kept(operation, row, why)

    async def _refuse(
        self, operation: Operation, error: HeadroomError, at: datetime, *, declined: bool
    ) -> Operation:
        async with self._database.transaction() as conn:
            row = await conn.fetchrow(
                _sql.refused, operation.number, error.message, {"declined": declined}, at
            )
            if not isinstance(error, NotAtProvider):
                # What is kept here let it be asked, so it may be old.
                await self._look(conn, operation, at)
        return await self._kept(operation, row, "refused")

    async def _give_up(self, operation: Operation, at: datetime) -> Operation:
        """End an operation whose key the provider forgets: asked again it might be done twice."""
        async with self._database.transaction() as conn:
            row = await conn.fetchrow(_sql.given_up, operation.number, _NEVER_LEARNT, at)
            await self._look(conn, operation, at)
        return await self._kept(operation, row, "given_up")

    async def _look(self, conn: Connection, operation: Operation, at: datetime) -> None:
        kind = operation.request["look"]
        if kind is not None and operation.object_id is not None:
            await look(conn, self.acts.name, Look(kind), [operation.object_id], at, soon=True)

    async def _kept(self, operation: Operation, row: Record | None, outcome: str) -> Operation:
        """Return what was written, or what somebody else had written before."""
        _ended.labels(operation.action, outcome).inc()
        found = row or await self._database.fetchrow(_sql.find, operation.id)
        if found is None:
            raise AssertionError("an operation that was begun is never deleted")
        return operation_of(found)

    async def _by_key(self, source: Connection | Database, wish: Wish) -> Operation | None:
        if wish.key is None:
            return None
        row = await source.fetchrow(_sql.by_key, wish.scope, wish.key)
        return None if row is None else operation_of(row)


async def confirm(conn: Connection, event_ids: Sequence[int], at: datetime) -> None:
    """Confirm what was answered before the object of these events was read.

    In the transaction that writes the object. Cost: one statement.
    """
    await conn.execute(_sql.confirm, list(event_ids), at)
