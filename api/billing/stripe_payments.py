"""Stripe's objects that tell of money: checkouts of packs, invoices, charges, refunds, disputes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from api.billing import stripe_invoices
from api.billing.problems import Unreadable
from api.billing.provider import ProviderInvoice, ProviderPurchase
from api.billing.stripe_shapes import Reference, id_of, instant, key_of, read
from api.domain.payments import FactKind, PaymentFact

PACK = "headroom_pack"
"""The key of a checkout's ``metadata`` under which it names the pack that it sells."""
QUANTITY = "headroom_quantity"

_PAID = frozenset({"paid", "no_payment_required"})
_FAILED_REFUND = frozenset({"failed", "canceled"})
_STANDING_DISPUTE = frozenset({"needs_response", "under_review", "lost"})
_OTHER_DISPUTE = frozenset(
    {
        "won",
        "prevented",
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
    }
)
_FINAL_DISPUTE = frozenset({"lost", "won", "prevented", "warning_closed"})


class _Charge(msgspec.Struct):
    id: str
    amount: int = 0
    amount_refunded: int = 0
    created: int = 0
    payment_intent: Reference = None


class _Intent(msgspec.Struct):
    id: str
    amount: int = 0
    amount_received: int = 0
    latest_charge: str | _Charge | None = None


class Session(msgspec.Struct):
    """A checkout session, as far as it matters here."""

    id: str
    created: int = 0
    customer: Reference = None
    subscription: Reference = None
    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None
    mode: str | None = None
    payment_status: str | None = None
    payment_intent: str | _Intent | None = None
    amount_total: int | None = None

    @property
    def customer_key(self) -> str | None:
        """The product's name for the customer, if it was told."""
        return key_of(self.metadata) or self.client_reference_id

    @property
    def paid(self) -> bool:
        """Whether the money is sure, or nothing is to be paid."""
        return self.payment_status in _PAID


class _Period(msgspec.Struct):
    end: int


class _LineDetails(msgspec.Struct):
    subscription: Reference = None


class _LineParent(msgspec.Struct):
    subscription_item_details: _LineDetails | None = None


class _Line(msgspec.Struct):
    period: _Period
    parent: _LineParent | None = None


class _Lines(msgspec.Struct):
    data: list[_Line]
    has_more: bool = False


class _SubscriptionDetails(msgspec.Struct):
    subscription: Reference = None
    metadata: dict[str, str] | None = None


class _InvoiceParent(msgspec.Struct):
    subscription_details: _SubscriptionDetails | None = None


class _Invoice(msgspec.Struct):
    id: str
    customer: Reference = None
    parent: _InvoiceParent | None = None
    subscription: Reference = None  # where it stood before parent came
    status: str | None = None
    lines: _Lines | None = None


class _Refund(msgspec.Struct):
    id: str
    amount: int
    status: str | None = None
    payment_intent: Reference = None


class _Dispute(msgspec.Struct):
    id: str
    amount: int
    status: str
    payment_intent: Reference = None


def session(obj: object) -> Session:
    """Return a checkout session. Raises: Unreadable."""
    return read(obj, Session, "checkout session")


def sells_pack(told: Session) -> bool:
    """Tell whether a checkout names a pack."""
    return bool((told.metadata or {}).get(PACK))


def purchase(told: Session, paid_at: datetime | None) -> ProviderPurchase | None:
    """Return what a checkout sells once, None where it sells no pack.

    ``paid_at`` is None where the money is not sure; where the payment was written out as well,
    its charge says since when it is.
    """
    pack = (told.metadata or {}).get(PACK)
    if told.mode != "payment" or not pack:
        return None
    intent = told.payment_intent
    if paid_at is not None and isinstance(intent, _Intent):
        charge = intent.latest_charge
        paid_at = instant(charge.created) if isinstance(charge, _Charge) else paid_at
    return ProviderPurchase(
        id=told.id,
        customer=id_of(told.customer),
        customer_key=told.customer_key,
        pack=pack,
        quantity=(told.metadata or {}).get(QUANTITY, "1"),
        payment=intent.id if isinstance(intent, _Intent) else intent,
        amount_minor=told.amount_total or 0,
        paid_at=paid_at,
    )


def invoice(obj: object, lines: list[Any] | None = None) -> ProviderInvoice:
    """Return an invoice in any provider's words; ``lines`` stand for a list that was cut.

    It pays for the greatest period of its lines for a subscription. Raises: Unreadable.
    """
    told = read(obj, _Invoice, "invoice")
    details = told.parent.subscription_details if told.parent is not None else None
    named = told.subscription if details is None else details.subscription
    listed = told.lines.data if told.lines is not None else []
    if lines is not None:
        listed = [read(line, _Line, "invoice line") for line in lines]
    ends = [
        line.period.end
        for line in listed
        if line.parent is not None and line.parent.subscription_item_details is not None
    ]
    paid = told.status == "paid"
    return ProviderInvoice(
        id=told.id,
        subscription=id_of(named),
        customer=id_of(told.customer),
        paid_until=instant(max(ends)) if paid and ends else None,
        whole=lines is not None or not paid or told.lines is None or not told.lines.has_more,
        state=stripe_invoices.state(obj),
        customer_key=None if details is None else key_of(details.metadata),
    )


def charge(obj: object) -> tuple[str | None, PaymentFact]:
    """Return the payment that a charge belongs to, and what it says of it. Raises: Unreadable."""
    told = read(obj, _Charge, "charge")
    fact = PaymentFact(FactKind.CHARGE, told.id, told.amount, told.amount_refunded)
    return id_of(told.payment_intent), fact


def refund(obj: object) -> tuple[str | None, PaymentFact]:
    """Return the payment that a refund is of, and what it says of it. Raises: Unreadable."""
    told = read(obj, _Refund, "refund")
    failed = told.status in _FAILED_REFUND
    fact = PaymentFact(FactKind.REFUND, told.id, told.amount, stands=not failed, final=failed)
    return id_of(told.payment_intent), fact


def dispute(obj: object) -> tuple[str | None, PaymentFact]:
    """Return the payment that is disputed, and how that stands. Raises: Unreadable.

    While a bank only inquires (``warning_…``) no money has moved.
    """
    told = read(obj, _Dispute, "dispute")
    if told.status not in _STANDING_DISPUTE | _OTHER_DISPUTE:
        raise Unreadable(
            f"Dispute {told.id} has the status {told.status!r}, which is not known here; update "
            "Headroom, then replay."
        )
    fact = PaymentFact(
        FactKind.DISPUTE,
        told.id,
        told.amount,
        stands=told.status in _STANDING_DISPUTE,
        final=told.status in _FINAL_DISPUTE,
    )
    return id_of(told.payment_intent), fact


def payment(obj: object, refunds: Iterable[Any], disputes: Iterable[Any]) -> list[PaymentFact]:
    """Return all that Stripe holds of a payment. Raises: Unreadable."""
    told = read(obj, _Intent, "payment")
    amount = told.amount_received or told.amount
    return [
        PaymentFact(FactKind.PAYMENT, told.id, amount),
        *(refund(one)[1] for one in refunds),
        *(dispute(one)[1] for one in disputes),
    ]
