"""What may be asked of a payment provider, and how it is asked: planned first, then performed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from api.billing.looks import Look


class Action(StrEnum):
    """What is asked for."""

    CHANGE_PLAN = "change_plan"
    CANCEL = "cancel"
    RESUME = "resume"
    SET_ADD_ON = "set_add_on"
    APPLY_PROMOTION = "apply_promotion"
    CHECKOUT = "checkout"
    PORTAL = "portal"
    REFUND = "refund"
    CREATE_COUPON = "create_coupon"
    RESEND_INVOICE = "resend_invoice"
    MARK_INVOICE_PAID = "mark_invoice_paid"


@dataclass(frozen=True, slots=True)
class Planned:
    """A request with nothing left to find out, so that repeating it is the same request.

    ``object_id`` is what it changes, to be read anew afterwards as ``look`` says; None where no
    object that is kept here changes.
    """

    request: Mapping[str, Any]
    object_id: str | None = None
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would cost, in the currency's smallest unit; below zero is a credit.

    ``removed`` are add-ons that the plan is not sold with, and that go with the change.
    """

    currency: str
    now_minor: int
    next_minor: int
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderCustomer:
    """A customer as the provider knows it; ``key`` is the product's name where it was told."""

    id: str
    email: str | None
    name: str | None
    key: str | None


class Acts(Protocol):
    """One payment provider, asked to do something.

    Raises, throughout: Unavailable (nothing is known of the outcome), ProviderRefused,
    NotAtProvider, Unreadable.
    """

    @property
    def name(self) -> str:
        """The word that stands for this provider in the record."""
        ...

    @property
    def answers(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        ...

    async def plan(self, action: Action, wish: Mapping[str, Any]) -> Planned:
        """Find out all that the request needs; nothing is changed."""
        ...

    async def perform(
        self, action: Action, request: Mapping[str, Any], key: str
    ) -> Mapping[str, Any]:
        """Do it, once for each ``key`` however often it is asked; return what is worth keeping."""
        ...

    async def preview(self, wish: Mapping[str, Any]) -> Preview:
        """Return what a change of plan would cost."""
        ...

    async def knows(self, customer: str) -> bool:
        """Tell whether the provider has this customer still."""
        ...

    async def stands(self, page: str, request: Mapping[str, Any], wish: Mapping[str, Any]) -> bool:
        """Tell whether a page is open still, and sells on the terms of this wish."""
        ...

    async def find_by_email(self, email: str) -> Sequence[ProviderCustomer]:
        """Return the provider's customers of this address."""
        ...
