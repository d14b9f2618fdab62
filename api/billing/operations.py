"""The journal of what is asked of the provider: written before it is asked.

An operation is ``pending`` until an answer is known. Its own id is the provider's idempotency key,
so an unknown outcome is found out by asking again: at once a caller, later the worker. ``answered``
becomes ``confirmed`` when the object was read after the answer, in the transaction that wrote it;
``refused`` is for good. Nothing else is written here: the object's state comes by its events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from api.billing.acts import Action, Acts, Planned
from api.billing.claims import pause_after
from api.billing.looks import Look, look
from api.billing.problems import ProviderRefused, RequestRefused, Unapplicable
from api.catalog import audit
from api.domain.errors import HeadroomError, IdempotencyConflict, InvalidInput, Unavailable
from api.infra.clock import Clock
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlated, correlation_id, counter

_sql = Queries.load("operations")

LEASE = timedelta(seconds=60)
"""How long whoever asks has an operation for itself; more than all calls of one action take."""

KEYS_KEPT = timedelta(hours=23)
"""How long the provider knows an idempotency key, with an hour to spare."""

MOST_AT_ONCE = 8
_MOST_KEY = 255

_ended = counter("billing_operations", "Attempts at an action, by outcome.", ["action", "outcome"])


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants: ``said`` is in the caller's words, for the comparison of two calls."""

    action: Action
    customer_id: int | None
    said: Mapping[str, Any]
    actor: str
    reason: str
    key: str | None = None

    @property
    def fingerprint(self) -> str:
        """What tells another operation under the same key."""
        text = orjson.dumps([self.action, dict(self.said)], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()


@dataclass(frozen=True, slots=True)
class Operation:
    """One action as it stands."""

    number: int
    id: str
    customer_id: int | None
    action: Action
    object_id: str | None
    state: str
    error: str | None
    attempts: int
    actor: str
    reason: str
    created_at: datetime
    ended_at: datetime | None
    fingerprint: str
    correlation_id: str | None
    request: Mapping[str, Any]
    answer: Mapping[str, Any] = field(default_factory=dict)


class Operations:
    """Asks one provider, and knows what became of it."""

    def __init__(self, database: Database, acts: Acts, clock: Clock) -> None:
        """Take a ``clock`` beside each ``at``: an answer has an instant of its own."""
        self._database = database
        self._clock = clock
        self.acts = acts

    async def carry_out(self, wish: Wish, told: Mapping[str, Any], at: datetime) -> Operation:
        """Journal a wish and ask the provider; ``told`` is the wish with all that we know.

        The same key gives the operation that it began, also while that is pending.
        Raises: ProviderRefused, IdempotencyConflict, InvalidInput; Unavailable, where nothing was
        begun. Cost: two transactions around the provider's calls.
        """
        self.expect_provider()
        if wish.key is not None and not 0 < len(wish.key) <= _MOST_KEY:
            raise InvalidInput(f"An idempotency key has 1 to {_MOST_KEY} characters.")
        known = await self._by_key(self._database, wish)
        if known is not None:
            return _same(known, wish)
        try:
            planned = await self.acts.plan(wish.action, told)
        except (ProviderRefused, Unapplicable) as error:
            raise RequestRefused(error.message, declined=False) from error
        async with self._database.transaction() as conn:
            row = await self._begin(conn, wish, planned, at)
            if row is None:
                known = await self._by_key(conn, wish)
        if row is None:
            if known is None:
                raise AssertionError("a key is taken by an operation that is there")
            return _same(known, wish)
        return _outcome(await self._attempt(_operation(row), at))

    async def known(self, wish: Wish) -> Operation | None:
        """Return what the wish's key began; None where it is to be judged, and carried out.

        Asked before the wish is judged by the record: what was done may have changed that.
        Raises: as ``carry_out``.
        """
        found = await self._by_key(self._database, wish)
        return None if found is None else _same(found, wish)

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
            operation = _operation(row)
            with correlated(operation.correlation_id):
                if at - operation.created_at > KEYS_KEPT:
                    await self._give_up(operation, at)
                else:
                    await self._attempt(operation, at)
        return len(rows)

    async def find(self, operation_id: str) -> Operation | None:
        """Return one operation by its id."""
        row = await self._database.fetchrow(_sql.find, operation_id)
        return None if row is None else _operation(row)

    async def pending_of(self, customer_ids: Sequence[int]) -> dict[int, list[Operation]]:
        """Return what each customer waits for, oldest first; an entry for each id given."""
        found: dict[int, list[Operation]] = {number: [] for number in customer_ids}
        for row in await self._database.fetch(_sql.pending_of, list(customer_ids)):
            found[row["customer_id"]].append(_operation(row))
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
        return [_operation(row) for row in rows]

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

    async def _attempt(self, operation: Operation, at: datetime) -> Operation:
        try:
            call = operation.request["call"]
            answer = await self.acts.perform(operation.action, call, operation.id)
        except ProviderRefused as error:
            return await self._refuse(operation, error, at, declined=error.declined)
        except Unapplicable as error:
            return await self._refuse(operation, error, at, declined=False)
        except Unavailable as error:
            row = await self._database.fetchrow(
                _sql.later, operation.number, at + pause_after(operation.attempts), error.message
            )
            return await self._kept(operation, row, "unknown")
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

    async def _refuse(
        self, operation: Operation, error: HeadroomError, at: datetime, *, declined: bool
    ) -> Operation:
        row = await self._database.fetchrow(
            _sql.refused, operation.number, error.message, {"declined": declined}, at
        )
        return await self._kept(operation, row, "refused")

    async def _give_up(self, operation: Operation, at: datetime) -> None:
        """End an operation whose key the provider forgets: asked again it might be done twice."""
        said = "The outcome was never learnt. What came of it was read from the object itself."
        async with self._database.transaction() as conn:
            await conn.execute(_sql.refused, operation.number, said, {"declined": False}, at)
            await self._look(conn, operation, at)
        _ended.labels(operation.action, "given_up").inc()

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
        return _operation(found)

    async def _by_key(self, source: Connection | Database, wish: Wish) -> Operation | None:
        if wish.key is None:
            return None
        row = await source.fetchrow(_sql.by_key, wish.customer_id or 0, wish.key)
        return None if row is None else _operation(row)


async def confirm(conn: Connection, event_ids: Sequence[int], at: datetime) -> None:
    """Confirm what was answered before the object of these events was read.

    In the transaction that writes the object. Cost: one statement.
    """
    await conn.execute(_sql.confirm, list(event_ids), at)


def _same(known: Operation, wish: Wish) -> Operation:
    if known.fingerprint != wish.fingerprint:
        raise IdempotencyConflict("This idempotency key was used for another action.")
    return _outcome(known)


def _outcome(operation: Operation) -> Operation:
    if operation.state == "refused":
        declined = bool(operation.answer.get("declined"))
        refusal = ProviderRefused if declined else RequestRefused
        raise refusal(operation.error or "", declined=declined)
    return operation


def _operation(row: Record) -> Operation:
    return Operation(
        number=row["id"],
        id=row["operation_id"],
        customer_id=row["customer_id"],
        action=Action(row["action"]),
        object_id=row["object_id"],
        state=row["state"],
        error=row["error"],
        attempts=row["attempts"],
        actor=row["actor"],
        reason=row["reason"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        fingerprint=row["fingerprint"],
        correlation_id=row["correlation_id"],
        request=row["request"],
        answer=row["answer"] or {},
    )
