"""The inbox: every event the provider tells is stored once, before it is acknowledged.

Nothing is done with an event while the provider waits for its answer. What a worker does with it
later is in ``worker``; what an operator may do with it is here: list, show, replay.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.billing.problems import SignatureRefused, Unreadable
from api.billing.provider import Payload, Provider, ProviderEvent
from api.billing.signature_failures import SignatureFailures
from api.catalog import audit
from api.domain.catalog import MAX_UNITS
from api.domain.errors import InvalidInput, NotFound, Unavailable
from api.infra.postgres import Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlated, correlation_id, counter

_sql = Queries.load("billing")
log = logging.getLogger(__name__)

CHANNEL = "headroom_webhooks"
MOST_BYTES = 1 << 20
MOST_IN_A_PAGE = 200
MOST_REPLAYED = 1_000
_NUL = "\x00"
_DELIVERED = "delivered"
_LISTED = "listed"

_received = counter(
    "billing_webhook_events",
    "Events that the payment provider delivered, by what became of the delivery.",
    ["type", "outcome"],
)
_refused = counter(
    "billing_webhook_failures",
    "Deliveries that were refused, by reason.",
    ["reason"],
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event is in the record; ``new`` is False where it was already."""

    event_id: str
    new: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was stored; ``status`` and ``message`` are the answer."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as the inbox holds it.

    ``state`` is ``pending``, ``applied``, ``ignored``, ``failed`` (to be tried again at
    ``next_attempt_at``) or ``parked`` (until it is replayed); ``error`` says what to do.
    """

    id: int
    provider: str
    event_id: str
    type: str
    version: str | None
    object_id: str | None
    customer_id: int | None
    created_at: datetime
    received_at: datetime
    state: str
    attempts: int
    next_attempt_at: datetime
    handled_at: datetime | None
    problem: str | None
    error: str | None
    correlation_id: str | None
    payload: Payload


class Inbox:
    """Takes deliveries in, and shows what became of them."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        failures: SignatureFailures,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.failures = failures
        self.most_bytes = most_bytes
        self.provider = provider.name
        self._database = database
        self._provider = provider

    async def accept(
        self,
        body: bytes,
        signature: str | None,
        remote_address: str,
        user_agent: str | None,
        at: datetime,
    ) -> Accepted | Refused:
        """Store one delivery, exactly as it came, and return what to answer.

        The same event again, also at the same instant, is acknowledged and changes nothing. A
        refused signature leaves a record and nothing else. Raises: Unavailable, where the event
        could not be stored: then the provider must be told to come again.
        Cost: one statement.
        """
        if len(body) > self.most_bytes:
            _refused.labels("too_large").inc()
            return Refused(413, f"A delivery has at most {self.most_bytes} bytes.")
        try:
            event = self._provider.open(body, signature, at)
        except SignatureRefused as refused:
            _refused.labels(refused.reason).inc()
            await self._note(refused.reason, body, remote_address, user_agent, at)
            return Refused(refused.status, refused.message)
        except Unreadable as error:
            _refused.labels(error.problem).inc()
            log.warning("a signed delivery is not an event: %s", error)
            return Refused(400, error.message)
        payload = _storable(event.payload) if b"\\u0000" in body else event.payload
        return Accepted(event.id, await self._store(event, payload, at, _DELIVERED))

    async def take(self, event: ProviderEvent, at: datetime) -> bool:
        """Store an event that the provider's list shows; return whether it had been missed.

        Raises: Unavailable.
        """
        return await self._store(event, _storable(event.payload), at, _LISTED)

    def concerns(self, event: ProviderEvent) -> bool:
        """Tell whether anything follows from such an event."""
        return self._provider.subject(event.type, event.payload) is not None

    async def _store(
        self, event: ProviderEvent, payload: Payload, at: datetime, origin: str
    ) -> bool:
        subject = self._provider.subject(event.type, event.payload)
        with correlated(correlation_id()) as correlation:
            row = await self._database.fetchrow(
                _sql.take_in,
                self._provider.name,
                event.id,
                event.type,
                event.version,
                subject,
                event.created_at,
                at,
                payload,
                "ignored" if subject is None else "pending",
                correlation,
                origin,
            )
        outcome = "repeated" if row is None else "ignored" if subject is None else "stored"
        _received.labels("other" if subject is None else event.type, outcome).inc()
        return row is not None

    async def list_(
        self,
        *,
        first: int = 50,
        state: str | None = None,
        event_type: str | None = None,
        customer_id: int | None = None,
        before: int | None = None,
    ) -> list[StoredEvent]:
        """Return at most ``first`` events, newest first, received before the one of that number."""
        rows = await self._database.fetch(
            _sql.page,
            MAX_UNITS if before is None else before,
            state,
            event_type,
            customer_id,
            min(max(first, 0), MOST_IN_A_PAGE),
        )
        return [_stored(row) for row in rows]

    async def show(self, event_id: str) -> StoredEvent:
        """Return one event, by the provider's id of it. Raises: NotFound."""
        row = await self._database.fetchrow(_sql.find, self._provider.name, event_id)
        if row is None:
            raise NotFound(f"There is no event {event_id[:200]!r}.")
        return _stored(row)

    async def replay(
        self,
        event_ids: Sequence[str] | None,
        *,
        actor: str,
        reason: str,
        at: datetime,
        dry_run: bool = False,
        event_type: str | None = None,
    ) -> list[StoredEvent]:
        """Have events handled again from the start: those named, or (None) all that are parked.

        With ``event_type``, and none named, those of it that failed or are parked.

        Replaying what was applied is harmless. ``dry_run`` only says which they would be.
        Raises: NotFound, InvalidInput.
        """
        if event_ids is not None and len(event_ids) > MOST_REPLAYED:
            raise InvalidInput(f"At most {MOST_REPLAYED} events can be named at once.")
        async with self._database.transaction() as conn:
            if event_ids is None and event_type is not None:
                rows = await conn.fetch(_sql.of_type, self._provider.name, event_type)
            elif event_ids is None:
                rows = await conn.fetch(_sql.parked, self._provider.name)
            else:
                wanted = list(dict.fromkeys(event_ids))
                rows = await conn.fetch(_sql.named, self._provider.name, wanted)
                missing = set(wanted) - {row["event_id"] for row in rows}
                if missing:
                    raise NotFound(f"There is no event {min(missing)[:200]!r}.")
            if dry_run or not rows:
                return [_stored(row) for row in rows]
            await conn.execute(_sql.replay, [row["id"] for row in rows], at)
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="webhooks.replay",
                reason=reason,
                detail={"events": [row["event_id"] for row in rows]},
                correlation_id=correlation_id(),
            )
            await conn.execute(_sql.wake)
        return [_stored(row) for row in rows]

    async def _note(
        self, reason: str, body: bytes, remote_address: str, user_agent: str | None, at: datetime
    ) -> None:
        payload_id, customer = self._provider.claimed_by(body)
        try:
            await self.failures.record(
                reason=reason,
                at=at,
                remote_address=remote_address,
                user_agent=user_agent,
                payload_id=payload_id,
                customer=customer,
            )
        except Unavailable as error:
            # The delivery is refused either way; the metric has counted it.
            log.warning("a refused signature could not be recorded: %s", error)


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return ``value`` with U+FFFD for each U+0000, which PostgreSQL's jsonb cannot hold."""
    if isinstance(value, str):
        return value.replace(_NUL, "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner) for inner in value]
    return value


def _stored(row: Record) -> StoredEvent:
    return StoredEvent(
        id=row["id"],
        provider=row["provider"],
        event_id=row["event_id"],
        type=row["type"],
        version=row["api_version"],
        object_id=row["object_id"],
        customer_id=row["customer_id"],
        created_at=row["provider_created_at"],
        received_at=row["received_at"],
        state=row["state"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        handled_at=row["handled_at"],
        problem=row["problem"],
        error=row["error"],
        correlation_id=row["correlation_id"],
        payload=row["payload"],
    )
