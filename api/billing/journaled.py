"""A wish, the operation that it began, and what a caller is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from api.billing.acts import Action
from api.billing.looks import Look
from api.billing.problems import ProviderRefused, RequestRefused
from api.domain.errors import HeadroomError, IdempotencyConflict
from api.infra.postgres import Record

NAMED_BY = {
    "subscription": Look.SUBSCRIPTION,
    "payment": Look.PAYMENT,
    "invoice": Look.INVOICE,
}
"""By which word a wish names the object that it changes, and how that is looked at."""


class OperationWaits(HeadroomError):
    """An earlier operation on the same object is not decided: nothing was begun."""

    code = "OPERATION_WAITS"
    status = 409
    retryable = True

    def __init__(self, earlier: Operation) -> None:
        super().__init__(
            f"{earlier.action} ({earlier.id}) was asked of {earlier.object_id} before, and its "
            "outcome is not known yet. It is asked again by itself; try this again in a moment."
        )


class OutcomeUnknown(HeadroomError):
    """An operation ended without an answer: it may have been done."""

    code = "OUTCOME_UNKNOWN"
    status = 409


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

    @property
    def scope(self) -> str:
        """Within what its key is its own: a refund is the payment's, whoever is named beside it."""
        if self.action is Action.REFUND:
            return f"payment:{self.said['payment']}"
        return "" if self.customer_id is None else f"customer:{self.customer_id}"


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
    next_attempt_at: datetime
    actor: str
    reason: str
    created_at: datetime
    ended_at: datetime | None
    fingerprint: str
    correlation_id: str | None
    request: Mapping[str, Any]
    answer: Mapping[str, Any] = field(default_factory=dict)

    def is_asked(self, at: datetime) -> bool:
        """Whether whoever began it is still waiting for its first answer."""
        return self.error is None and self.next_attempt_at > at


def named(told: Mapping[str, Any]) -> tuple[Look, str] | None:
    """Return the object that a wish changes, and how to look at it."""
    for word, kind in NAMED_BY.items():
        if told.get(word):
            return kind, str(told[word])
    return None


def outcome(operation: Operation) -> Operation:
    """Return it, unless it ended in vain. Raises: ProviderRefused, OutcomeUnknown."""
    if operation.state == "unknown":
        raise OutcomeUnknown(f"{operation.id}: {operation.error}")
    if operation.state == "refused":
        declined = bool(operation.answer.get("declined"))
        refusal = ProviderRefused if declined else RequestRefused
        raise refusal(operation.error or "", declined=declined)
    return operation


def same(known: Operation, wish: Wish) -> Operation:
    """Return what the wish's key began, as a caller is told it. Raises: IdempotencyConflict."""
    if known.fingerprint != wish.fingerprint:
        raise IdempotencyConflict("This idempotency key was used for another action.")
    return outcome(known)


def operation_of(row: Record) -> Operation:
    """Return one row of the journal."""
    return Operation(
        number=row["id"],
        id=row["operation_id"],
        customer_id=row["customer_id"],
        action=Action(row["action"]),
        object_id=row["object_id"],
        state=row["state"],
        error=row["error"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        actor=row["actor"],
        reason=row["reason"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        fingerprint=row["fingerprint"],
        correlation_id=row["correlation_id"],
        request=row["request"],
        answer=row["answer"] or {},
    )
