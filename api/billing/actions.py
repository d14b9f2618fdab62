"""What customers and the services that speak for them ask of the payment provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from api.billing import baskets, pages
from api.billing.acts import Action, Preview
from api.billing.baskets import Basket, interval_of
from api.billing.operations import Operation, Operations, Wish
from api.billing.problems import ProviderRefused, RequestRefused, Unapplicable
from api.catalog import subscriptions
from api.catalog.customers import Customer, Customers
from api.catalog.revisions import Revisions
from api.catalog.subscriptions import SubscriptionRecord
from api.catalog.text import require_reason
from api.domain.errors import InvalidInput, NotFound
from api.domain.event_order import TERMINAL
from api.infra.postgres import Database


class When(StrEnum):
    """When a change of plan happens."""

    NOW = "now"
    PERIOD_END = "period_end"


class Ending(StrEnum):
    """How a subscription ends."""

    PERIOD_END = "period_end"
    NOW = "now"
    NOW_PRORATED = "now_prorated"


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, why, and under which key; ``own``: a customer for itself."""

    actor: str
    reason: str
    key: str | None = None
    own: bool = False


class BillingActions:
    """Judges what is asked by the catalog and the record, then has it carried out."""

    def __init__(
        self,
        database: Database,
        customers: Customers,
        revisions: Revisions,
        operations: Operations,
        return_url: str | None,
    ) -> None:
        self._database = database
        self._customers = customers
        self._revisions = revisions
        self._return_url = return_url
        self.operations = operations

    async def change_plan(
        self,
        customer: str,
        plan: str,
        *,
        by: By,
        at: datetime,
        price: str | None = None,
        when: When = When.NOW,
        subscription: str | None = None,
    ) -> Operation:
        """Move a subscription to another plan; usage stays. Raises: see ``Operations``."""
        found = await self._customers.get(customer)
        said = {"plan": plan, "price": price, "when": when, "subscription": subscription}
        wish = self._wish(Action.CHANGE_PLAN, found, said, by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        told, _ = await self._change(found, plan, price, when, subscription, own=by.own)
        return await self.operations.carry_out(wish, told, at)

    async def preview(
        self,
        customer: str,
        plan: str,
        *,
        price: str | None = None,
        when: When = When.NOW,
        subscription: str | None = None,
        own: bool = False,
    ) -> tuple[Preview, SubscriptionRecord]:
        """Return what that would cost, and what would be changed; nothing is written.

        Raises: RequestRefused, InvalidInput, NotFound, Unavailable.
        """
        self.operations.expect_provider()
        found = await self._customers.get(customer)
        told, held = await self._change(found, plan, price, when, subscription, own=own)
        try:
            return await self.operations.acts.preview(told), held
        except (ProviderRefused, Unapplicable) as error:
            raise RequestRefused(error.message, declined=False) from error

    async def cancel(
        self, customer: str, *, ending: Ending, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """End a subscription, now or with its period."""
        found = await self._customers.get(customer)
        wish = self._wish(
            Action.CANCEL, found, {"ending": ending, "subscription": subscription}, by
        )
        if (known := await self.operations.known(wish)) is not None:
            return known
        held = await self._held(found, subscription)
        told = {"subscription": held.provider_id, "mode": ending.value}
        return await self.operations.carry_out(wish, told, at)

    async def resume(
        self, customer: str, *, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """Let a subscription go on that was to end, or to change, with its period."""
        found = await self._customers.get(customer)
        wish = self._wish(Action.RESUME, found, {"subscription": subscription}, by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        told = {"subscription": (await self._held(found, subscription)).provider_id}
        return await self.operations.carry_out(wish, told, at)

    async def set_add_on(
        self,
        customer: str,
        add_on: str,
        quantity: int,
        *,
        by: By,
        at: datetime,
        subscription: str | None,
    ) -> Operation:
        """Hold so many of an add-on; none gives it up, whatever it is sold beside."""
        baskets.expect_quantity(quantity, least=0)
        found = await self._customers.get(customer)
        said = {"add_on": add_on, "quantity": quantity, "subscription": subscription}
        wish = self._wish(Action.SET_ADD_ON, found, said, by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        held = await self._held(found, subscription)
        catalog = self._revisions.newest.catalog
        sold = catalog.add_ons.get(add_on)
        if sold is None or (quantity and not sold.sold_beside(held.plan or "")):
            raise InvalidInput(f"{add_on[:200]!r} is not sold beside this plan.")
        told: dict[str, Any] = {
            "subscription": held.provider_id,
            "prices": [price.key for price in sold.prices],
            "quantity": quantity,
        }
        if quantity:
            interval = interval_of(catalog, held.price)
            told["price"] = baskets.chosen(sold.prices, None, interval, add_on).key
        return await self.operations.carry_out(wish, told, at)

    async def apply_promotion(
        self, customer: str, code: str, *, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """Put a code's discount beside those there are; for a customer itself, once."""
        found = await self._customers.get(customer)
        said = {"code": code, "subscription": subscription}
        wish = self._wish(Action.APPLY_PROMOTION, found, said, by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        held = await self._held(found, subscription)
        told = {"subscription": held.provider_id, "code": code, "once": by.own}
        return await self.operations.carry_out(wish, told, at)

    async def checkout(self, customer: str, basket: Basket, *, by: By, at: datetime) -> Operation:
        """Open a page where the customer buys; what was bought arrives by its events."""
        found = await self._customers.get(customer)
        wish = self._wish(Action.CHECKOUT, found, basket.said(), by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        self.operations.expect_provider()
        catalog = self._revisions.newest.catalog
        lines, trial_days = baskets.priced(catalog, found, basket, own=by.own)
        held = await subscriptions.by_customer(self._database, found.id)
        if basket.plan is not None:
            baskets.expect_room(catalog, found, basket.plan, held)
        told: dict[str, Any] = {
            "customer_key": found.key,
            "provider_customer": await self._linked(found, at),
            "email": found.email,
            "lines": lines,
            "pack": basket.pack,
            # A trial is given once.
            "trial_days": None if held else trial_days,
            "promotion_code": basket.promotion_code,
            "success_url": self._back(),
            "cancel_url": self._back(),
            "instead_of": [],
        }
        acts = self.operations.acts
        opened = await pages.opened(self._database, acts.name, found.id, at)
        same = next((one for one in opened if one.fingerprint == wish.fingerprint), None)
        if same is not None and await self._stands(same, told):
            known = await self.operations.find(same.operation_id)
        if known is not None:
            return known
        if basket.plan is not None:
            told["instead_of"] = [one.id for one in opened if one.plan]
        return await self.operations.carry_out(wish, told, at)

    async def portal(self, customer: str, *, by: By, at: datetime) -> Operation:
        """Open the provider's own page for this customer."""
        found = await self._customers.get(customer)
        wish = self._wish(Action.PORTAL, found, {}, by)
        if (known := await self.operations.known(wish)) is not None:
            return known
        self.operations.expect_provider()
        linked = await self._linked(found, at)
        if linked is None:
            raise NotFound("The payment provider does not know this customer.")
        told = {"customer": linked, "return_url": self._back()}
        return await self.operations.carry_out(wish, told, at)

    async def _change(
        self,
        customer: Customer,
        plan: str,
        price: str | None,
        when: When,
        subscription: str | None,
        *,
        own: bool,
    ) -> tuple[dict[str, Any], SubscriptionRecord]:
        held = await self._held(customer, subscription)
        catalog = self._revisions.newest.catalog
        wanted = baskets.plan_for(catalog, plan, customer, own=own)
        chosen = baskets.chosen(wanted.prices, price, interval_of(catalog, held.price), plan)
        told = {
            "subscription": held.provider_id,
            "price": chosen.key,
            "plan_prices": [p.key for one in catalog.plans.values() for p in one.prices],
            "beside": baskets.beside(catalog, plan, chosen),
            "when": when.value,
        }
        return told, held

    async def _held(self, customer: Customer, subscription: str | None) -> SubscriptionRecord:
        """Return the subscription that is meant: the named one, or the only one that goes on."""
        records = await subscriptions.by_customer(self._database, customer.id)
        going = [
            record
            for record in records
            if record.provider == self.operations.acts.name and record.status not in TERMINAL
        ]
        meant = [r for r in going if subscription is None or r.provider_id == subscription]
        if not meant:
            raise NotFound("This customer has no such subscription that goes on.")
        if len(meant) > 1:
            raise InvalidInput("This customer has several subscriptions: say which one is meant.")
        return meant[0]

    async def _linked(self, customer: Customer, at: datetime) -> str | None:
        """Return the provider's name for it; one that was deleted there is let go of."""
        acts = self.operations.acts
        for provider, name in await self._customers.links(customer.id):
            if provider == acts.name:
                if await acts.knows(name):
                    return name
                await self._customers.unlink(provider, name, at)
        return None

    async def _stands(self, page: pages.Page, told: dict[str, Any]) -> bool:
        return await self.operations.acts.stands(page.id, page.request, told)

    def _back(self) -> str:
        if self._return_url is None:
            raise InvalidInput("Set BILLING_RETURN_URL: where customers come back to.")
        return self._return_url

    def _wish(self, action: Action, customer: Customer, said: dict[str, Any], by: By) -> Wish:
        require_reason(by.reason)
        return Wish(action, customer.id, said, by.actor, by.reason, by.key)
