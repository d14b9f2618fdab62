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

    def subscriptions(self, customer: str | None = None) -> AsyncGenerator[list[Listed]]:
        """Yield every subscription, also those that ended, a page at a time."""
        ...

    def paid_checkouts(self, since: datetime) -> AsyncGenerator[list[str]]:
        """Yield the paid checkouts of packs since an instant, a page at a time."""
        ...

    def money_back(self, since: datetime) -> AsyncGenerator[list[tuple[str, PaymentFact]]]:
        """Yield what refunds and disputes begun since an instant say of which payment, by page."""
        ...

    def invoices(
        self, since: datetime | None, customer: str | None = None
    ) -> AsyncGenerator[list[ProviderInvoice]]:
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

    async def drop_change(self, subscription_id: str, key: str) -> None:
        """Drop a change that waits for its payment. Safe to repeat under one ``key``."""
        ...
