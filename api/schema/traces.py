"""What was written under one correlation id."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.billing import traces
from api.schema.context import Info
from api.schema.described import described
from api.schema.scalars import Json


@strawberry.type
class TraceEntry:
    """One row."""

    at: datetime
    source: str = strawberry.field(
        description="webhook_event, provider_operation, subscription_change, credit_entry, "
        "audit_entry or alert."
    )
    customer: str | None
    what: str
    reference: str = strawberry.field(description="Its id, or that of what it is about.")
    detail: Json


@strawberry.type(description="All that was written under one correlation id.")
class Trace:
    """One course of things."""

    correlation_id: str
    entries: list[TraceEntry]


@strawberry.type
class TraceQuestions:
    """Following one problem from end to end."""

    @described("Events, operations, changes, ledger, audit and alerts under one correlation id.")
    async def trace(self, info: Info, correlation_id: str) -> Trace:
        """Find them, oldest first."""
        found = await traces.find(info.context.services.database, correlation_id)
        return Trace(
            correlation_id=correlation_id,
            entries=[
                TraceEntry(
                    at=one.at,
                    source=one.source,
                    customer=one.customer,
                    what=one.what,
                    reference=one.reference,
                    detail=Json(one.detail),
                )
                for one in found
            ],
        )
