"""Stripe's lists, and what reconciliation does there.

Failure policy: that of ``stripe_api``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar

from api.billing import stripe_payments, stripe_shapes
from api.billing.account import AccountIdentity, Listed, Odd, WaitingChange
from api.billing.problems import KeyLacksRight, NotAtProvider, Unreadable
from api.billing.provider import ProviderInvoice, ProviderSubscription
from api.billing.stripe_door import StripeDoor
from api.domain.event_order import TERMINAL
from api.domain.payments import PaymentFact

_Told = TypeVar("_Told")

_MOST_FOUND = 100

SUBSCRIPTION = "sub_"
"""What the ids of subscriptions begin with."""


class StripeAccount:
    """Everything that Stripe holds for us; its calls wait for background work's share."""

    def __init__(self, door: StripeDoor) -> None:
        self._door = door.background
        self._api = self._door.api

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return self._door.name

    @property
    def reads(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        return self._api.answers

    async def identity(self) -> AccountIdentity:
        """Read which account the key is of; a restricted key may not be allowed to.

        Raises: Unavailable. Cost: one call.
        """
        try:
            found = await self._api.read("account")
        except KeyLacksRight:
            return AccountIdentity(None, self._api.live)
        return AccountIdentity(str(found["id"]), self._api.live)

    async def customers_of(self, key: str) -> list[str]:
        """Search for who was made under this name, or subscribed under it.

        Stripe's search knows of what is new within a minute or, at times, hours. Cost: two calls.
        Raises: Unavailable, Unreadable where the account cannot be searched.
        """
        said = key.replace("\\", "\\\\").replace('"', '\\"')
        query = f'metadata["{stripe_shapes.LINK}"]:"{said}"'
        made = await self._api.read("customers", "search", query=query, limit=_MOST_FOUND)
        sold = await self._api.read("subscriptions", "search", query=query, limit=_MOST_FOUND)
        found = [one["id"] for one in made["data"]] + [one["customer"] for one in sold["data"]]
        return list(dict.fromkeys(found))

    async def subscriptions(self, customer: str | None = None) -> AsyncGenerator[list[Listed]]:
        """Yield every subscription, also those that ended, a hundred at a time.

        Cost: one call for each hundred, and one for each that has more than ten items or a
        schedule.
        """
        about = {} if customer is None else {"customer": customer}
        pages = self._api.each_page("subscriptions", status="all", **about)
        async with aclosing(pages):
            async for page in pages:
                yield [await self._whole(listed(one)) for one in page]

    async def paid_checkouts(self, since: datetime) -> AsyncGenerator[list[str | Odd]]:
        """Yield the paid checkouts of packs that were begun since an instant."""
        pages = self._api.each_page(
            "checkout",
            "sessions",
            created={"gte": int(since.timestamp())},
            status="complete",
        )
        async with aclosing(pages):
            async for page in pages:
                yield [
                    one if isinstance(one, Odd) else one.id
                    for one in _each(stripe_payments.session, page)
                    if isinstance(one, Odd) or (one.paid and stripe_payments.sells_pack(one))
                ]

    async def money_back(
        self, since: datetime, until: datetime | None = None
    ) -> AsyncGenerator[list[tuple[str, PaymentFact] | Odd]]:
        """Yield refunds and disputes begun since an instant. Cost: a call for each hundred."""
        created = {"gte": int(since.timestamp())}
        if until is not None:
            created["lt"] = int(until.timestamp())
        for listing, told_of in (
            ("refunds", stripe_payments.refund),
            ("disputes", stripe_payments.dispute),
        ):
            async with aclosing(self._api.each_page(listing, created=created)) as pages:
                async for page in pages:
                    found: list[tuple[str, PaymentFact] | Odd] = []
                    for one in _each(told_of, page):
                        if isinstance(one, Odd):
                            found.append(one)
                        elif one[0] is not None:
                            found.append((one[0], one[1]))
                    yield found

    async def invoices(
        self, since: datetime | None, customer: str | None = None
    ) -> AsyncGenerator[list[ProviderInvoice | Odd]]:
        """Yield invoices as far as the list shows them. Cost: a call for each hundred.

        Of a long invoice the last lines are lacking, so it may pay for more than is said here.
        """
        about: dict[str, Any] = {} if customer is None else {"customer": customer}
        if since is not None:
            about["created"] = {"gte": int(since.timestamp())}
        async with aclosing(self._api.each_page("invoices", **about)) as pages:
            async for page in pages:
                yield _each(stripe_payments.invoice, page)

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription. Raises: NotAtProvider, Unavailable, Unreadable."""
        return await self._door.subscription(subscription_id)

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer."""
        return await self._door.customer_key(customer)

    async def end(self, subscription_id: str, key: str) -> None:
        """End a subscription now, without a bill; one that has ended is left as it is.

        Whoever paid twice gets money back by a refund, which a person decides.
        Raises: Unavailable, NotAtProvider, ProviderRefused.
        """
        call = self._api.v1.subscriptions.cancel_async(
            subscription_id,
            {"prorate": False, "invoice_now": False},
            {"idempotency_key": key},
        )
        try:
            await self._api.ask(call)
        except NotAtProvider:
            # Stripe says so of one that has ended as well; who is not there at all raises again.
            if (await self._door.subscription(subscription_id)).status not in TERMINAL:
                raise

    async def waiting_change(self, subscription_id: str) -> WaitingChange | None:
        """Read which change waits: the invoice of an update is what it waits for.

        Cost: a call, and one more where a change waits. Raises: Unavailable, NotAtProvider.
        """
        found = await self._api.read("subscriptions", subscription_id)
        if not found.get("pending_update") or found["status"] in {one.value for one in TERMINAL}:
            return None
        invoices = await self._api.pages("invoices", subscription=subscription_id, status="open")
        asking = [one for one in invoices if one.get("billing_reason") == "subscription_update"]
        if not asking:
            return None
        last = max(asking, key=lambda one: (one["created"], one["id"]))
        return WaitingChange(last["id"], stripe_shapes.instant(last["created"]))

    async def drop_change(self, change: WaitingChange, key: str) -> None:
        """Drop this change by voiding its invoice; one that is paid or void is left as it is.

        Raises: Unavailable, Throttled, NotAtProvider, ProviderRefused.
        """
        if (await self._api.read("invoices", change.invoice)).get("status") == "open":
            call = self._api.v1.invoices.void_invoice_async(
                change.invoice, {}, {"idempotency_key": key}
            )
            await self._api.ask(call)

    async def _whole(self, one: Listed) -> Listed:
        if one.told is None or (one.told.whole and one.told.scheduled is not None):
            return one
        try:
            return Listed(one.id, one.status, await self._door.subscription(one.id))
        except (NotAtProvider, Unreadable) as error:
            return Listed(one.id, one.status, problem=error.message)


def _each(
    told_of: Callable[[dict[str, Any]], _Told], page: Iterable[dict[str, Any]]
) -> list[_Told | Odd]:
    """Return what each object of a page says, and why of one that is not understood."""
    found: list[_Told | Odd] = []
    for obj in page:
        try:
            found.append(told_of(obj))
        except Unreadable as error:
            found.append(Odd(str(obj.get("id")), error.message))
    return found


def listed(obj: dict[str, Any]) -> Listed:
    """Return a subscription's object as one of a list, whether or not it can be understood."""
    name, status = str(obj.get("id")), obj.get("status")
    try:
        return Listed(name, status, stripe_shapes.subscription(obj))
    except Unreadable as error:
        return Listed(name, status, problem=error.message)
