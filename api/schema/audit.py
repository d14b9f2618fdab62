"""The audit log: who did what to whom, and why."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog import audit
from api.catalog.audit import Act
from api.schema import ids
from api.schema.context import Context, Info
from api.schema.customers import Customer, customer_of
from api.schema.described import described
from api.schema.given import given
from api.schema.pages import Connection, expect_first, page
from api.schema.scalars import Json


@strawberry.type(description="One action, as it was recorded; it is never changed.")
class AuditEntry:
    """One line of the log."""

    act: strawberry.Private[Act]
    at: datetime
    actor: str
    action: str
    reason: str
    detail: Json
    correlation_id: str | None

    @strawberry.field
    async def customer(self, info: Info) -> Customer | None:
        """Show whom it concerned."""
        if self.act.customer_id is None:
            return None
        row = await info.context.loaders.customers.load(self.act.customer_id)
        return None if row is None else customer_of(row)


@strawberry.type
class AuditQuestions:
    """What was done."""

    @described("What operators and products did, newest first; of one customer, or of all.")
    async def audit_log(
        self,
        info: Info,
        first: int = 50,
        after: str | None = strawberry.UNSET,
        customer: str | None = strawberry.UNSET,
    ) -> Connection[AuditEntry]:
        """Read the log."""
        most = min(info.context.services.max_page_size, audit.MOST_IN_A_PAGE - 1)
        expect_first(first, most)
        rows = await audit.list_(
            info.context.services.database,
            first=first + 1,
            customer_id=await _number_of(info.context, given(customer)),
            before=ids.place_number("AuditEntry", given(after)),
        )
        return page(
            rows,
            first,
            after=given(after),
            cursor=lambda act: ids.cursor("AuditEntry", act.id),
            node=_entry_of,
        )


async def _number_of(context: Context, key: str | None) -> int | None:
    return None if key is None else (await context.services.customers.get(key)).id


def _entry_of(act: Act) -> AuditEntry:
    return AuditEntry(
        act=act,
        at=act.at,
        actor=act.actor,
        action=act.action,
        reason=act.reason,
        detail=Json(act.detail),
        correlation_id=act.correlation_id,
    )
