"""The provider's invoices as they were last read or told: for the customer's page and reports.

Read under the lock of their subscription, or their own where they are for none, what was read
stands. Without a key the state in the newest event stands; of one second, the state further on in
an invoice's course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from api.billing.claims import DueEvent
from api.billing.provider import InvoiceState, ProviderInvoice
from api.domain.catalog import MAX_UNITS
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("invoices")

DRAFT = "draft"
DELETED = "deleted"
MOST_IN_A_PAGE = 201


@dataclass(frozen=True, slots=True)
class InvoiceRecord:
    """One invoice; ``customer_id`` is None until it is known who pays."""

    id: int
    provider_id: str
    customer_id: int | None
    subscription_id: str | None
    state: InvoiceState


class Mirror:
    """Writes one provider's invoices; ``reads``: what comes was read, and is no mere hearsay."""

    def __init__(self, provider: str, *, reads: bool) -> None:
        self._provider = provider
        self._reads = reads

    async def put(
        self,
        conn: Connection,
        told: ProviderInvoice,
        customer_id: int | None,
        event: DueEvent,
        at: datetime,
    ) -> None:
        """Write an invoice, if this is news of it; in the transaction that ends its event."""
        if (state := told.state) is None:
            return
        await conn.execute(
            _sql.put,
            self._provider,
            told.id,
            customer_id,
            told.customer,
            told.subscription,
            state.number,
            state.status,
            state.currency,
            state.total_minor,
            state.due_minor,
            state.paid_minor,
            state.remaining_minor,
            state.period_start,
            state.period_end,
            state.created_at,
            state.due_at,
            state.paid_at,
            state.voided_at,
            state.attempts,
            state.next_attempt_at,
            state.reason,
            state.hosted_url,
            state.pdf_url,
            event.created_at,
            event.event_id,
            at,
            self._reads,
        )


async def adopt(conn: Connection, provider: str, name: str, customer_id: int) -> None:
    """Give a customer the invoices that came before it was known whose they are."""
    await conn.execute(_sql.adopt, provider, name, customer_id)


async def of_customer(
    database: Database, customer_id: int, *, first: int, before: int | None = None
) -> Sequence[InvoiceRecord]:
    """Return at most ``first`` invoices, the last heard of first, without deleted drafts."""
    count = min(max(first, 0), MOST_IN_A_PAGE)
    last = MAX_UNITS if before is None else before
    return [_record(r) for r in await database.fetch(_sql.of_customer, customer_id, last, count)]


async def deleted_draft(
    database: Database, provider: str, invoice_id: str
) -> ProviderInvoice | None:
    """Return a draft of the mirror as one that is no more; None where it is no draft here."""
    row = await database.fetchrow(_sql.find, provider, invoice_id)
    if row is None or row["status"] not in (DRAFT, DELETED):
        return None
    state = replace(_record(row).state, status=DELETED)
    return ProviderInvoice(
        invoice_id, row["subscription_id"], row["provider_customer"], None, state=state
    )


async def still_double(database: Database, provider: str, invoice_id: str) -> bool:
    """Tell whether another invoice asks money for the same period of the subscription."""
    return bool(await database.fetchval(_sql.still_double, provider, invoice_id))


def _record(row: Record) -> InvoiceRecord:
    return InvoiceRecord(
        id=row["id"],
        provider_id=row["provider_id"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        state=InvoiceState(
            status=row["status"],
            currency=row["currency"],
            total_minor=row["total_minor"],
            due_minor=row["due_minor"],
            paid_minor=row["paid_minor"],
            remaining_minor=row["remaining_minor"],
            created_at=row["created_at"],
            number=row["number"],
            period_start=row["period_start"],
            period_end=row["period_end"],
            due_at=row["due_at"],
            paid_at=row["paid_at"],
            voided_at=row["voided_at"],
            attempts=row["attempts"],
            next_attempt_at=row["next_attempt_at"],
            reason=row["reason"],
            hosted_url=row["hosted_url"],
            pdf_url=row["pdf_url"],
        ),
    )
