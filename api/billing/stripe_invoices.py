"""What Stripe's invoices show, in any provider's words."""

from __future__ import annotations

from datetime import datetime

import msgspec

from api.billing.provider import InvoiceState
from api.billing.stripe_shapes import instant, read


class _Period(msgspec.Struct):
    start: int
    end: int


class _ItemDetails(msgspec.Struct):
    proration: bool = False


class _LineParent(msgspec.Struct):
    subscription_item_details: _ItemDetails | None = None


class _Line(msgspec.Struct):
    period: _Period
    parent: _LineParent | None = None

    @property
    def regular(self) -> bool:
        """Whether it is for a period of a subscription, and no more than a part of one."""
        details = None if self.parent is None else self.parent.subscription_item_details
        return details is not None and not details.proration


class _Lines(msgspec.Struct):
    data: list[_Line]


class _Transitions(msgspec.Struct):
    paid_at: int | None = None
    voided_at: int | None = None


class _Invoice(msgspec.Struct):
    id: str
    created: int = 0
    status: str | None = None
    currency: str = ""
    number: str | None = None
    total: int = 0
    amount_due: int = 0
    amount_paid: int = 0
    amount_remaining: int = 0
    attempt_count: int = 0
    billing_reason: str | None = None
    due_date: int | None = None
    next_payment_attempt: int | None = None
    period_start: int | None = None
    period_end: int | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    status_transitions: _Transitions | None = None
    lines: _Lines | None = None


def state(obj: object) -> InvoiceState:
    """Return what an invoice shows. Raises: Unreadable.

    Its own period is that in which its items came up, so the period that it asks money for is
    taken from the lines of the subscription. All of them have one period, so the first will do.
    """
    told = read(obj, _Invoice, "invoice")
    periods = [line.period for line in (told.lines.data if told.lines else []) if line.regular]
    moments = told.status_transitions or _Transitions()
    return InvoiceState(
        status=told.status or "draft",
        currency=told.currency,
        total_minor=told.total,
        due_minor=told.amount_due,
        paid_minor=told.amount_paid,
        remaining_minor=told.amount_remaining,
        created_at=instant(told.created),
        number=told.number,
        period_start=_maybe(min((p.start for p in periods), default=told.period_start)),
        period_end=_maybe(max((p.end for p in periods), default=told.period_end)),
        due_at=_maybe(told.due_date),
        paid_at=_maybe(moments.paid_at),
        voided_at=_maybe(moments.voided_at),
        attempts=told.attempt_count,
        next_attempt_at=_maybe(told.next_payment_attempt),
        reason=told.billing_reason,
        hosted_url=told.hosted_invoice_url,
        pdf_url=told.invoice_pdf,
    )


def _maybe(seconds: int | None) -> datetime | None:
    return None if seconds is None else instant(seconds)
