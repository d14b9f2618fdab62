"""What Headroom needs of a payment provider, in words that fit any of them.

An event is a hint: it says which subscription, purchase or payment to look at. That object is
truth, where it can be read; where no key to the provider is configured, the state that an event
tells stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from api.billing.shelf import Shelf, ShelfPrice, ShelfProduct
from api.domain.entitlements import SubscriptionStatus
from api.domain.payments import PaymentFact

Payload = Mapping[str, Any]
"""What the provider sent, as JSON; only the provider's door knows its shape."""


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event whose signature held; ``version`` is that of the words it is told in."""

    id: str
    type: str
    version: str | None
    created_at: datetime
    payload: Payload


@dataclass(frozen=True, slots=True)
class ProviderItem:
    """One line of a subscription. ``price`` is the catalog's name of it, None if it has none.

    All of it costs ``cost_minor`` in ``every`` intervals, None where that could not be told; a line
    without an interval is paid once.
    """

    price: str | None
    price_id: str
    quantity: int
    period_start: datetime
    period_end: datetime
    cost_minor: Decimal | None = None
    currency: str | None = None
    interval: str | None = None
    every: int = 1


@dataclass(frozen=True, slots=True)
class ProviderPhase:
    """What a subscription is to hold from an instant on: the catalog's names of its prices."""

    at: datetime
    prices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProviderSubscription:
    """A subscription as the provider holds it.

    ``customer`` is the provider's name for who holds it, ``customer_key`` the product's own, where
    the provider was told. ``pending`` are the prices of a change that waits for its payment,
    ``scheduled`` what comes by itself, in order of time; None where that was not told.
    ``whole`` is False where the list of items was cut.
    """

    id: str
    customer: str
    customer_key: str | None
    status: SubscriptionStatus
    items: tuple[ProviderItem, ...]
    pending: tuple[str, ...] = ()
    scheduled: tuple[ProviderPhase, ...] | None = ()
    billing_anchor: datetime | None = None
    trial_ends_at: datetime | None = None
    cancel_at_period_end: bool = False
    ends_at: datetime | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ProviderPurchase:
    """A pack that was bought once, as its checkout ``id`` says.

    ``quantity`` is as it was told, to be judged here. ``paid_at`` is None until the money is sure;
    ``payment`` is None where nothing had to be paid. ``amount_minor`` is what it cost.
    """

    id: str
    customer: str | None
    customer_key: str | None
    pack: str
    quantity: str
    payment: str | None
    amount_minor: int
    paid_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """What an invoice shows: whom it asks for how much, for which period, and how that stands.

    ``status`` is ``draft``, ``open``, ``paid``, ``uncollectible``, ``void`` or, of a draft that is
    no more, ``deleted``. The period is that of a subscription's own lines, where it has such.
    """

    status: str
    currency: str
    total_minor: int
    due_minor: int
    paid_minor: int
    remaining_minor: int
    created_at: datetime
    number: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    due_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    reason: str | None = None
    hosted_url: str | None = None
    pdf_url: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderInvoice:
    """An invoice; ``paid_until`` is the end of what it pays for, if it is paid.

    ``whole`` is False where lines are lacking that say until when. ``state`` is None where nothing
    was told yet but the id. ``customer_key`` is what its subscription said when it was made.
    """

    id: str
    subscription: str | None
    customer: str | None
    paid_until: datetime | None
    whole: bool = True
    state: InvoiceState | None = None
    customer_key: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A product or a price as an event tells it; ``gone`` where it is deleted.

    ``before`` is the lookup key that the price had until then, if it was another.
    """

    product: ShelfProduct | None = None
    price: ShelfPrice | None = None
    before: str | None = None
    gone: bool = False


SHELF = "shelf"
"""What is locked for whatever is offered: one reading of it serves all events of it."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What an event points at, whichever of its parts are known.

    ``told`` is the subscription's state in the event itself, ``purchase`` and ``invoice`` those of
    a checkout and an invoice, ``fact`` what the event says of a ``payment``. ``introduces``: the
    event says which of the product's customers the provider's ``customer`` is; ``departed``:
    it was deleted there. ``offer`` is what the event says of what is for sale.
    """

    subscription: str | None
    customer: str | None
    customer_key: str | None
    told: ProviderSubscription | None = None
    introduces: bool = False
    purchase: ProviderPurchase | None = None
    invoice: ProviderInvoice | None = None
    payment: str | None = None
    fact: PaymentFact | None = None
    departed: bool = False
    offer: Offer | None = None

    @property
    def object_id(self) -> str | None:
        """The id of the object that is to be locked, read and written."""
        if self.purchase is not None:
            return self.purchase.id
        if self.offer is not None:
            return SHELF
        own = None if self.invoice is None else self.invoice.id
        return self.subscription or self.payment or own


class Provider(Protocol):
    """One payment provider.

    Failure policy of what is read: no answer, a failing or refusing provider is ``Unavailable``;
    an object that is not there is ``NotAtProvider``; one whose shape is not understood is
    ``Unreadable``.
    """

    @property
    def name(self) -> str:
        """The word that stands for this provider in the record."""
        ...

    @property
    def version(self) -> str:
        """The version of the provider's words that is understood here."""
        ...

    @property
    def reads(self) -> bool:
        """Whether objects can be read: a key is configured."""
        ...

    def open(self, body: bytes, signature: str | None, at: datetime) -> ProviderEvent:
        """Return the event in ``body``. Raises: SignatureRefused, Unreadable."""
        ...

    def claimed_by(self, body: bytes) -> tuple[str | None, str | None]:
        """Return the event id and the customer that a body of no valid signature claims."""
        ...

    def subject(self, event_type: str, payload: Payload) -> str | None:
        """Return the id of the object that the event is about, None where nothing follows it."""
        ...

    def hint(self, event_type: str, payload: Payload) -> Hint:
        """Return what an event that has a subject points at. Raises: Unreadable."""
        ...

    async def hint_again(self, event_type: str, payload: Payload) -> Hint:
        """Return the same from the event's own object, read at our version."""
        ...

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription, with all its items."""
        ...

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer; None where the provider was never told."""
        ...

    async def purchase(self, checkout_id: str) -> ProviderPurchase | None:
        """Read a checkout; None where it sells no pack."""
        ...

    async def invoice(self, invoice_id: str) -> ProviderInvoice:
        """Read an invoice, with all its lines."""
        ...

    async def payment(self, payment_id: str) -> Sequence[PaymentFact]:
        """Read a payment, with all its refunds and disputes."""
        ...

    async def shelf(self) -> Shelf:
        """Read all that is for sale."""
        ...
