"""What support asks of the payment provider, with a reason that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.billing.actions import By
from api.billing.acts import Action, ProviderCustomer
from api.billing.operations import Operation, Operations, Wish
from api.catalog.customers import Customer, Customers
from api.catalog.text import require_reason
from api.domain.errors import InvalidInput

_HUNDRED = 100
_DURATIONS = ("once", "repeating", "forever")


@dataclass(frozen=True, slots=True)
class Coupon:
    """A discount, in percent or as an amount; ``months`` where it repeats for so many."""

    name: str
    percent_off: float | None = None
    amount_off_minor: int | None = None
    currency: str | None = None
    duration: str = "once"
    months: int | None = None
    code: str | None = None
    most_redemptions: int | None = None


@dataclass(frozen=True, slots=True)
class FoundAtProvider:
    """Somebody whom the provider knows, and the customer here that is linked with it, if any."""

    there: ProviderCustomer
    linked: str | None


class SupportActions:
    """Has them carried out; none is ever done without a reason."""

    def __init__(self, customers: Customers, operations: Operations) -> None:
        self._customers = customers
        self._operations = operations

    async def refund(
        self,
        payment: str,
        amount_minor: int | None,
        *,
        by: By,
        at: datetime,
        customer: str | None = None,
    ) -> Operation:
        """Give money back, all of it or a part; what it bought follows by the refund's event.

        A ``customer`` is held to be who paid. Raises: see ``Operations``.
        """
        if amount_minor is not None and amount_minor <= 0:
            raise InvalidInput("A refund is above zero.")
        whom = None if customer is None else (await self._customers.get(customer)).id
        said = {"payment": payment, "amount_minor": amount_minor}
        if whom is None:
            return await self._do(Action.REFUND, said, by, at)
        name = self._operations.acts.name
        payers = [theirs for of, theirs in await self._customers.links(whom) if of == name]
        return await self._do(Action.REFUND, said, by, at, whom, {**said, "payers": payers})

    async def create_coupon(self, coupon: Coupon, *, by: By, at: datetime) -> Operation:
        """Make a coupon, and with a code one that customers can type."""
        return await self._do(
            Action.CREATE_COUPON, {"coupon": _terms(coupon), "code": coupon.code}, by, at
        )

    async def resend_invoice(self, invoice: str, *, by: By, at: datetime) -> Operation:
        """Have the provider send an invoice again."""
        return await self._do(Action.RESEND_INVOICE, {"invoice": invoice}, by, at)

    async def mark_invoice_paid(self, invoice: str, *, by: By, at: datetime) -> Operation:
        """Say that an invoice was paid elsewhere."""
        return await self._do(Action.MARK_INVOICE_PAID, {"invoice": invoice}, by, at)

    async def find(self, email: str) -> tuple[Sequence[Customer], Sequence[FoundAtProvider]]:
        """Return who has this address: here, and at the provider where one can be asked.

        Cost: a call, and a statement for each whom the provider finds. Raises: Unavailable.
        """
        here = await self._customers.find_by_email(email)
        return here, await self.find_at_provider(email) if self._operations.acts.answers else ()

    async def find_at_provider(self, email: str) -> Sequence[FoundAtProvider]:
        """Return whom the provider knows by this address. Raises: Unavailable."""
        self._operations.expect_provider()
        acts, found = self._operations.acts, []
        for one in await acts.find_by_email(email):
            linked = await self._customers.find_by_link(acts.name, one.id)
            found.append(FoundAtProvider(one, None if linked is None else linked.key))
        return found

    async def _do(
        self,
        action: Action,
        said: dict[str, Any],
        by: By,
        at: datetime,
        customer_id: int | None = None,
        told: dict[str, Any] | None = None,
    ) -> Operation:
        require_reason(by.reason)
        wish = Wish(action, customer_id, said, by.actor, by.reason, by.key)
        return await self._operations.carry_out(wish, said if told is None else told, at)


def _terms(coupon: Coupon) -> dict[str, Any]:
    if (coupon.percent_off is None) == (coupon.amount_off_minor is None):
        raise InvalidInput("A coupon takes off a percentage or an amount: say one of the two.")
    if coupon.percent_off is not None and not 0 < coupon.percent_off <= _HUNDRED:
        raise InvalidInput("A percentage is above 0, and at most 100.")
    if coupon.amount_off_minor is not None and (
        coupon.amount_off_minor <= 0 or not coupon.currency
    ):
        raise InvalidInput("An amount is above zero, and has a currency.")
    if coupon.duration not in _DURATIONS:
        raise InvalidInput(f"A duration is one of {', '.join(_DURATIONS)}.")
    if (coupon.duration == "repeating") != (coupon.months is not None):
        raise InvalidInput("Say for how many months a coupon repeats, and only then.")
    terms = {
        "name": coupon.name,
        "percent_off": coupon.percent_off,
        "amount_off": coupon.amount_off_minor,
        "currency": coupon.currency,
        "duration": coupon.duration,
        "duration_in_months": coupon.months,
        "max_redemptions": coupon.most_redemptions,
    }
    return {name: value for name, value in terms.items() if value is not None}
