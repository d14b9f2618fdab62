"""An action at the payment provider, as it stands."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import strawberry

from api.billing.acts import Action
from api.billing.operations import Operation
from api.schema.context import Info
from api.schema.described import described

strawberry.enum(Action, name="BillingAction", description="What is asked of the payment provider.")


@strawberry.enum(
    description="PENDING: no answer is known, and it is asked again; ANSWERED: done there, not yet "
    "read here; CONFIRMED: done, and what came of it is here; REFUSED: for good, see error; "
    "UNKNOWN: never answered, and it may have been done: look at the object before asking again."
)
class BillingState(StrEnum):
    """From asking to knowing."""

    PENDING = "pending"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@strawberry.type(description="An action at the payment provider; see docs/billing.md.")
class BillingOperation:
    """One action."""

    operation: strawberry.Private[Operation]
    id: strawberry.ID
    action: Action
    state: BillingState
    error: str | None = strawberry.field(description="Why it waits, or was refused.")
    url: str | None = strawberry.field(description="Where to send the customer.")
    object_id: str | None = strawberry.field(description="What it changes, or made.")
    code: str | None = strawberry.field(description="The promotion code that was made.")
    waits_for_payment: bool = strawberry.field(
        description="Accepted, and in force once its invoice is paid; see pendingPlan."
    )
    removed_add_ons: list[str] = strawberry.field(
        description="Add-ons that a change of plan gave up: not sold beside the new one."
    )
    created_at: datetime
    ended_at: datetime | None

    @described("The key of whom it is for.")
    async def customer(self, info: Info) -> str | None:
        """Show whom it is for."""
        if self.operation.customer_id is None:
            return None
        row = await info.context.loaders.customers.load(self.operation.customer_id)
        return None if row is None else row.key


_MADE = ("refund", "coupon", "checkout", "portal", "invoice")


def operation_of(operation: Operation) -> BillingOperation:
    """Show one action."""
    answer = operation.answer
    made = next((str(answer[name]) for name in _MADE if answer.get(name)), None)
    return BillingOperation(
        operation=operation,
        id=strawberry.ID(operation.id),
        action=operation.action,
        state=BillingState(operation.state),
        error=operation.error,
        url=answer.get("url"),
        object_id=made or operation.object_id,
        code=answer.get("code"),
        waits_for_payment=bool(answer.get("waits_for_payment")),
        removed_add_ons=list(answer.get("removed_add_ons", ())),
        created_at=operation.created_at,
        ended_at=operation.ended_at,
    )
