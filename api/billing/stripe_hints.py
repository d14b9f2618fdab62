"""What each of Stripe's events points at: a subscription, an invoice, a checkout, a payment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from api.billing import stripe_payments
from api.billing.problems import Unreadable
from api.billing.provider import Hint, Offer, Payload
from api.billing.stripe_shapes import (
    customer_of,
    id_of,
    instant,
    plain_id,
    scheduled_for,
    subscription,
)
from api.billing.stripe_shelf import price_of, product_of
from api.domain.payments import PaymentFact

_COMPLETED = "checkout.session.completed"
_SUCCEEDED = "checkout.session.async_payment_succeeded"
_FAILED = "checkout.session.async_payment_failed"
_DELETED = "invoice.deleted"


def subject(event_type: str, payload: Payload) -> str | None:
    """Return the object that an event concerns, else its own object's id; None: ignored."""
    if event_type not in HANDLED:
        return None
    own = payload["data"]["object"]
    try:
        found = hint(event_type, payload)
    except Unreadable:
        # Kept under its own id, to be read again at our version, or shown to a person.
        return plain_id(own.get("id"))
    if (named := plain_id(found.object_id)) is not None:
        return named
    return plain_id(own.get("id")) if found.introduces or found.departed else None


def hint(event_type: str, payload: Payload) -> Hint:
    """Return what an event points at. Raises: Unreadable."""
    if event_type in _OFFERS:
        return _of_offer(payload["data"], event_type)
    return _HINTS[event_type](payload["data"]["object"], event_type, payload["created"])


def of_subscription(obj: object, _event_type: str, _created: int) -> Hint:
    """Return what a subscription says of itself. Raises: Unreadable."""
    told = subscription(obj)
    return Hint(told.id, told.customer, told.customer_key, told)


def of_schedule(obj: object, _event_type: str, _created: int) -> Hint:
    """Return the subscription that a schedule is or was for. Raises: Unreadable."""
    subscription_id, customer = scheduled_for(obj)
    return Hint(subscription_id, customer, None)


def of_customer(obj: object, _event_type: str, _created: int) -> Hint:
    """Return whom a customer introduces, where its metadata says so. Raises: Unreadable."""
    customer, key = customer_of(obj)
    return Hint(None, customer, key, introduces=key is not None)


def of_departed(obj: object, _event_type: str, _created: int) -> Hint:
    """Return a customer that was deleted. Raises: Unreadable."""
    customer, _ = customer_of(obj)
    return Hint(None, customer, None, departed=True)


def of_session(obj: object, event_type: str, created: int) -> Hint:
    """Return whom a checkout introduces, and what was bought. Raises: Unreadable.

    Of a checkout that is paid later the money is sure when an event says so, and not before.
    """
    session = stripe_payments.session(obj)
    customer, key = id_of(session.customer), session.customer_key
    sure = event_type == _SUCCEEDED or (session.paid and event_type != _FAILED)
    return Hint(
        id_of(session.subscription),
        customer,
        key,
        introduces=customer is not None and key is not None,
        purchase=stripe_payments.purchase(session, instant(created) if sure else None),
    )


def of_invoice(obj: object, event_type: str, _created: int) -> Hint:
    """Return an invoice, and whose subscription it is for. Raises: Unreadable."""
    invoice = stripe_payments.invoice(obj)
    if event_type == _DELETED and invoice.state is not None:
        invoice = replace(invoice, state=replace(invoice.state, status="deleted"))
    return Hint(invoice.subscription, invoice.customer, None, invoice=invoice)


def of_charge(obj: object, _event_type: str, _created: int) -> Hint:
    """Return the payment of a charge. Raises: Unreadable."""
    return _of_payment(stripe_payments.charge(obj))


def of_refund(obj: object, _event_type: str, _created: int) -> Hint:
    """Return the payment that a refund is of. Raises: Unreadable."""
    return _of_payment(stripe_payments.refund(obj))


def of_dispute(obj: object, _event_type: str, _created: int) -> Hint:
    """Return the payment that is disputed. Raises: Unreadable."""
    return _of_payment(stripe_payments.dispute(obj))


def _of_offer(data: Payload, event_type: str) -> Hint:
    """Return what of a shelf may be ours: of a price one that has a name, or had one until now.

    Checkouts with amounts of their own make prices and products too, which are nobody's concern.
    """
    obj, gone = data["object"], event_type.endswith(".deleted")
    if event_type.startswith("product."):
        product = product_of(obj)
        ours = gone or not product.active or product.item is not None
        return Hint(None, None, None, offer=Offer(product=product, gone=gone) if ours else None)
    price = price_of(obj)
    before = (data.get("previous_attributes") or {}).get("lookup_key")
    offer = Offer(price=price, before=before, gone=gone)
    return Hint(None, None, None, offer=offer if price.name or before else None)


def _of_payment(told: tuple[str | None, PaymentFact]) -> Hint:
    payment, fact = told
    return Hint(None, None, None, payment=payment, fact=fact)


_HINTS: Mapping[str, Callable[[object, str, int], Hint]] = {
    _COMPLETED: of_session,
    _SUCCEEDED: of_session,
    _FAILED: of_session,
    "customer.created": of_customer,
    "customer.updated": of_customer,
    "customer.deleted": of_departed,
    "customer.subscription.created": of_subscription,
    "customer.subscription.updated": of_subscription,
    "customer.subscription.deleted": of_subscription,
    "customer.subscription.paused": of_subscription,
    "customer.subscription.resumed": of_subscription,
    "customer.subscription.trial_will_end": of_subscription,
    "subscription_schedule.aborted": of_schedule,
    "subscription_schedule.canceled": of_schedule,
    "subscription_schedule.completed": of_schedule,
    "subscription_schedule.created": of_schedule,
    "subscription_schedule.released": of_schedule,
    "subscription_schedule.updated": of_schedule,
    "invoice.created": of_invoice,
    _DELETED: of_invoice,
    "invoice.finalization_failed": of_invoice,
    "invoice.finalized": of_invoice,
    "invoice.marked_uncollectible": of_invoice,
    "invoice.overdue": of_invoice,
    "invoice.overpaid": of_invoice,
    "invoice.paid": of_invoice,
    "invoice.payment_action_required": of_invoice,
    "invoice.payment_failed": of_invoice,
    "invoice.payment_succeeded": of_invoice,
    "invoice.sent": of_invoice,
    "invoice.updated": of_invoice,
    "invoice.voided": of_invoice,
    "charge.refunded": of_charge,
    "refund.created": of_refund,
    "refund.updated": of_refund,
    "refund.failed": of_refund,
    "charge.dispute.created": of_dispute,
    "charge.dispute.updated": of_dispute,
    "charge.dispute.closed": of_dispute,
    "charge.dispute.funds_withdrawn": of_dispute,
    "charge.dispute.funds_reinstated": of_dispute,
}
_OFFERS = frozenset(
    {"product.updated", "product.deleted", "price.created", "price.updated", "price.deleted"}
)
HANDLED = frozenset(_HINTS) | _OFFERS
"""The types of event that something follows from."""
