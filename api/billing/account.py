"""What reconciliation needs of a payment provider: its lists, and ways to put things right."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from api.billing.provider import ProviderInvoice, ProviderSubscription
from api.domain.payments import PaymentFact


@dataclass(frozen=True, slots=True)
class Listed:
    """One subscription of a list; ``told`` is None where it cannot be told in our words.

    ``status`` is the provider's own word, all that some exports say.
    """

    id: str
    status: str | None
    told: ProviderSubscription | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Odd:
    """One object of a list that cannot be told in our words; the others are not held up by it."""

    id: str
    problem: str


@dataclass(frozen=True, slots=True)
class AccountIdentity:
    """Which of the provider's accounts a key is of; ``id`` is None where the key may not ask."""

    id: str | None
    live: bool


@dataclass(frozen=True, slots=True)
class WaitingChange:
    """A change of a subscription that waits for an invoice to be paid, since that was made."""

    invoice: str
    since: datetime


class Account(Protocol):
    """Everything that one provider holds for us.

    Failure policy: that of ``Provider``; lists are asked for at the pace of background work.
    """

    @property
    def name(self) -> str:
        """The word that stands for this provider in the record."""
        ...

    @property
    def reads(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        ...

    async def identity(self) -> AccountIdentity:
        """Read which account this is."""
        ...

    async def customers_of(self, key: str) -> list[str]:
        """Find the provider's customers of this name; one that is new may not be found yet."""
        ...

    def subscriptions(self, customer: str | None = None) -> AsyncGenerator[list[Listed]]:
        """Yield every subscription, also those that ended, a page at a time."""
        ...

    def paid_checkouts(self, since: datetime) -> AsyncGenerator[list[str | Odd]]:
        """Yield the paid checkouts of packs since an instant, a page at a time."""
        ...

    def money_back(
        self, since: datetime, until: datetime | None = None
    ) -> AsyncGenerator[list[tuple[str, PaymentFact] | Odd]]:
        """Yield what refunds and disputes begun in that time say of which payment, by page."""
        ...

    def invoices(
        self, since: datetime | None, customer: str | None = None
    ) -> AsyncGenerator[list[ProviderInvoice | Odd]]:
        """Yield invoices made since an instant or ever, of a customer or of all, by page."""
        ...

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription. Raises: NotAtProvider."""
        ...

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer."""
        ...

    async def end(self, subscription_id: str, key: str) -> None:
        """End a subscription now, without a bill. Safe to repeat under one ``key``."""
        ...

    async def waiting_change(self, subscription_id: str) -> WaitingChange | None:
        """Read which change of a subscription waits for its payment."""
        ...

    async def drop_change(self, change: WaitingChange, key: str) -> None:
        """Drop this change, and no other. Safe to repeat under one ``key``."""
        ...
