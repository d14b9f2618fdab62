"""What customers and the services that speak for them ask of the payment provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from api.billing import baskets
from api.billing.acts import Action, Preview
from api.billing.baskets import Basket, interval_of
from api.billing.operations import Operation, Operations, Wish
from api.billing.problems import ProviderRefused, RequestRefused, Unapplicable
from api.catalog import subscriptions
from api.catalog.customers import Customer, Customers
from api.catalog.revisions import Revisions
from api.catalog.subscriptions import SubscriptionRecord
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
        held, told = await self._change(customer, plan, price, when, subscription, own=by.own)
        said = {"plan": plan, "price": price, "when": when, "subscription": subscription}
        wish = self._wish(Action.CHANGE_PLAN, held, said, by)
        return await self.operations.carry_out(wish, told, at)

    async def preview(
        self,
        customer: str,
        plan: str,
        *,
        price: str | None = None,
        when: When = When.NOW,
        own: bool = False,
    ) -> tuple[Preview, SubscriptionRecord]:
        """Return what that would cost, and what would be changed; nothing is written.

        Raises: RequestRefused, InvalidInput, NotFound, Unavailable.
        """
        self.operations.expect_provider()
        found, told = await self._change(customer, plan, price, when, None, own=own)
        held = await self._held(found, None)
        try:
            return await self.operations.acts.preview(told), held
        except (ProviderRefused, Unapplicable) as error:
            raise RequestRefused(error.message, declined=False) from error

    async def cancel(
        self, customer: str, *, ending: Ending, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """End a subscription, now or with its period."""
        found = await self._customers.get(customer)
        held = await self._held(found, subscription)
        said = {"ending": ending, "subscription": subscription}
        told = {"subscription": held.provider_id, "mode": ending.value}
        wish = self._wish(Action.CANCEL, found, said, by)
        return await self.operations.carry_out(wish, told, at)

    async def resume(
        self, customer: str, *, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """Let a subscription go on that was to end, or to change, with its period."""
        found = await self._customers.get(customer)
        held = await self._held(found, subscription)
        told = {"subscription": held.provider_id}
        wish = self._wish(Action.RESUME, found, {"subscription": subscription}, by)
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
        """Hold so many of an add-on; none gives it up."""
        baskets.expect_quantity(quantity, least=0)
        found = await self._customers.get(customer)
        held = await self._held(found, subscription)
        catalog = self._revisions.newest.catalog
        sold = catalog.add_ons.get(add_on)
        if sold is None or not sold.sold_beside(held.plan or ""):
            raise InvalidInput(f"{add_on[:200]!r} is not sold beside this plan.")
        price = baskets.chosen(sold.prices, None, interval_of(catalog, held.price), add_on)
        told = {"subscription": held.provider_id, "price": price.key, "quantity": quantity}
        said = {"add_on": add_on, "quantity": quantity, "subscription": subscription}
        wish = self._wish(Action.SET_ADD_ON, found, said, by)
        return await self.operations.carry_out(wish, told, at)

    async def apply_promotion(
        self, customer: str, code: str, *, by: By, at: datetime, subscription: str | None
    ) -> Operation:
        """Put the discount of a promotion code on a subscription."""
        found = await self._customers.get(customer)
        held = await self._held(found, subscription)
        told = {"subscription": held.provider_id, "code": code}
        said = {"code": code, "subscription": subscription}
        wish = self._wish(Action.APPLY_PROMOTION, found, said, by)
        return await self.operations.carry_out(wish, told, at)

    async def checkout(self, customer: str, basket: Basket, *, by: By, at: datetime) -> Operation:
        """Open a page where the customer buys; what was bought arrives by its events."""
        found = await self._customers.get(customer)
        wish = self._wish(Action.CHECKOUT, found, basket.said(), by)
        known = await self.operations.known(wish)
        if known is not None:
            return known
        catalog = self._revisions.newest.catalog
        lines, trial_days = baskets.priced(catalog, found, basket, own=by.own)
        held = await subscriptions.by_customer(self._database, found.id)
        if basket.plan is not None:
            baskets.expect_room(catalog, found, basket.plan, held)
        told: dict[str, Any] = {
            "customer_key": found.key,
            "provider_customer": await self._linked(found),
            "email": found.email,
            "lines": lines,
            "pack": basket.pack,
            # A trial is given once.
            "trial_days": None if held else trial_days,
            "promotion_code": basket.promotion_code,
            "success_url": self._back(),
            "cancel_url": self._back(),
        }
        return await self.operations.carry_out(wish, told, at)

    async def portal(self, customer: str, *, by: By, at: datetime) -> Operation:
        """Open the provider's own page for this customer."""
        found = await self._customers.get(customer)
        linked = await self._linked(found)
        if linked is None:
            raise NotFound("The payment provider does not know this customer yet.")
        told = {"customer": linked, "return_url": self._back()}
        return await self.operations.carry_out(self._wish(Action.PORTAL, found, {}, by), told, at)

    async def _change(
        self,
        customer: str,
        plan: str,
        price: str | None,
        when: When,
        subscription: str | None,
        *,
        own: bool,
    ) -> tuple[Customer, dict[str, Any]]:
        found = await self._customers.get(customer)
        held = await self._held(found, subscription)
        catalog = self._revisions.newest.catalog
        wanted = baskets.plan_for(catalog, plan, found, own=own)
        chosen = baskets.chosen(wanted.prices, price, interval_of(catalog, held.price), plan)
        return found, {
            "subscription": held.provider_id,
            "price": chosen.key,
            "plan_prices": [p.key for one in catalog.plans.values() for p in one.prices],
            "when": when.value,
        }

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

    async def _linked(self, customer: Customer) -> str | None:
        links = await self._customers.links(customer.id)
        return next((name for p, name in links if p == self.operations.acts.name), None)

    def _back(self) -> str:
        if self._return_url is None:
            raise InvalidInput("Set BILLING_RETURN_URL: where customers come back to.")
        return self._return_url

    def _wish(self, action: Action, customer: Customer, said: dict[str, Any], by: By) -> Wish:
        return Wish(action, customer.id, said, by.actor, by.reason, by.key)
