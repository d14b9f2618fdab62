"""The door to Stripe: the only module that knows the ``stripe`` package.

Failure policy: no answer in time, a lost connection, a limit on our calls, an error of Stripe's
own and a key that is refused leave here as ``Unavailable``; an object that is not there as
``NotAtProvider``; a request that cannot be meant as ``Unreadable``. Nothing is retried here: the
inbox tries again, at growing intervals and under a new lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar

import orjson
import stripe

from api.billing import stripe_hints, stripe_payments, stripe_shapes
from api.billing.problems import NotAtProvider, SignatureRefused, Unreadable
from api.billing.provider import (
    Hint,
    Payload,
    ProviderEvent,
    ProviderInvoice,
    ProviderPurchase,
    ProviderSubscription,
)
from api.domain.errors import Unavailable
from api.domain.payments import PaymentFact

TOLERANCE_SECONDS = 300
_IN_A_PAGE = 100

_Answer = TypeVar("_Answer")
_Listed = stripe.ListObject[Any]


class StripeDoor:
    """Stripe as the one provider of subscriptions; without an ``api_key`` nothing is read."""

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        api_key: str | None = None,
        api_base: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._secrets = tuple(secrets)
        self._timeout_seconds = timeout_seconds
        self._http: stripe.HTTPXClient | None = None
        self._client: stripe.StripeClient | None = None
        if api_key is not None:
            self._http = stripe.HTTPXClient(timeout=timeout_seconds)
            self._client = stripe.StripeClient(
                api_key,
                base_addresses={"api": api_base} if api_base else {},
                http_client=self._http,
                max_network_retries=0,
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to Stripe."""
        if self._http is not None:
            await self._http.close_async()  # type: ignore[no-untyped-call] # the package's own

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return "stripe"

    @property
    def version(self) -> str:
        """The API version that the installed package pins."""
        return stripe.api_version

    @property
    def reads(self) -> bool:
        """Whether objects can be read: a key is configured."""
        return self._client is not None

    def open(self, body: bytes, signature: str | None, at: datetime) -> ProviderEvent:
        """Return the event in ``body`` if one of the secrets signed it, not long before or after.

        The signature is over the bytes as they came. Raises: SignatureRefused, Unreadable.
        """
        self._require_signature(body, signature, at)
        try:
            payload = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unreadable("The body is not JSON.") from error
        envelope = stripe_shapes.envelope_of(payload)
        return ProviderEvent(
            id=envelope.id,
            type=envelope.type,
            version=envelope.api_version,
            created_at=stripe_shapes.instant(envelope.created),
            payload=payload,
        )

    def claimed_by(self, body: bytes) -> tuple[str | None, str | None]:
        """Return the event id and the customer that a body of no valid signature claims."""
        try:
            return stripe_shapes.claimed_by(orjson.loads(body))
        except orjson.JSONDecodeError:
            return None, None

    def subject(self, event_type: str, payload: Payload) -> str | None:
        """Return the id of the object that the event is about, None where nothing follows it."""
        return stripe_hints.subject(event_type, payload)

    def hint(self, event_type: str, payload: Payload) -> Hint:
        """Return what an event that has a subject points at. Raises: Unreadable."""
        return stripe_hints.hint(event_type, payload)

    async def hint_again(self, event_type: str, payload: Payload) -> Hint:
        """Return the same, from the event's own object as it is at our version.

        Raises: Unavailable, NotAtProvider, Unreadable.
        """
        object_id = str(payload["data"]["object"].get("id"))
        api = self._api
        found: stripe.StripeObject
        match event_type.split("."):
            case ["checkout", *_]:
                found = await self._ask(api.checkout.sessions.retrieve_async(object_id))
            case ["invoice", *_]:
                found = await self._ask(api.invoices.retrieve_async(object_id))
            case ["refund", *_]:
                found = await self._ask(api.refunds.retrieve_async(object_id))
            case ["charge", "dispute", *_]:
                found = await self._ask(api.disputes.retrieve_async(object_id))
            case ["charge", *_]:
                found = await self._ask(api.charges.retrieve_async(object_id))
            case _:
                return Hint(object_id, None, None)
        again = {"created": payload.get("created", 0), "data": {"object": found.to_dict()}}
        return stripe_hints.hint(event_type, again)

    async def subscription(self, subscription_id: str) -> ProviderSubscription:
        """Read a subscription, with all its items. Raises: Unavailable, NotAtProvider, Unreadable.

        Cost: one call, and one more per hundred items where the list was cut.
        """
        found = await self._ask(self._api.subscriptions.retrieve_async(subscription_id))
        told = stripe_shapes.subscription(found.to_dict())
        if told.whole:
            return told
        items = await self._pages(
            self._api.subscription_items.list_async, subscription=subscription_id
        )
        return stripe_shapes.subscription(found.to_dict(), items)

    async def customer_key(self, customer: str) -> str | None:
        """Read how the product calls this customer. Raises: Unavailable, NotAtProvider."""
        found = await self._ask(self._api.customers.retrieve_async(customer))
        return stripe_shapes.customer_key(found.to_dict())

    async def purchase(self, checkout_id: str) -> ProviderPurchase | None:
        """Read a checkout; None where it sells no pack.

        Cost: one call. Raises: Unavailable, NotAtProvider, Unreadable.
        """
        call = self._api.checkout.sessions.retrieve_async(
            checkout_id, {"expand": ["payment_intent.latest_charge"]}
        )
        told = stripe_payments.session((await self._ask(call)).to_dict())
        begun = stripe_shapes.instant(told.created)
        return stripe_payments.purchase(told, begun if told.paid else None)

    async def invoice(self, invoice_id: str) -> ProviderInvoice:
        """Read an invoice, with all its lines.

        Cost: one call, and one more per hundred lines where the list was cut.
        Raises: Unavailable, NotAtProvider, Unreadable.
        """
        found = await self._ask(self._api.invoices.retrieve_async(invoice_id))
        told = stripe_payments.invoice(found.to_dict())
        if told.whole:
            return told

        page = partial(self._api.invoices.line_items.list_async, invoice_id)
        return stripe_payments.invoice(found.to_dict(), await self._pages(page))

    async def payment(self, payment_id: str) -> list[PaymentFact]:
        """Read a payment, with all its refunds and disputes.

        Cost: three calls. Raises: Unavailable, NotAtProvider, Unreadable.
        """
        api = self._api
        found = await self._ask(api.payment_intents.retrieve_async(payment_id))
        refunds = await self._pages(api.refunds.list_async, payment_intent=payment_id)
        disputes = await self._pages(api.disputes.list_async, payment_intent=payment_id)
        return stripe_payments.payment(found.to_dict(), refunds, disputes)

    @property
    def _api(self) -> stripe.V1Services:
        if self._client is None:
            raise RuntimeError("nothing can be read without a key: ask `reads` first")
        return self._client.v1

    async def _pages(
        self, list_page: Callable[[Any], Awaitable[_Listed]], **about: str
    ) -> list[Any]:
        found: list[Any] = []
        more = True
        while more:
            after = {"starting_after": found[-1]["id"]} if found else {}
            page = await self._ask(list_page({**about, **after, "limit": _IN_A_PAGE}))
            found += [one.to_dict() for one in page.data]
            more = page.has_more and bool(page.data)
        return found

    async def _ask(self, call: Awaitable[_Answer]) -> _Answer:
        async with _mapped():
            async with asyncio.timeout(self._timeout_seconds):
                return await call

    def _require_signature(self, body: bytes, signature: str | None, at: datetime) -> None:
        if not signature:
            raise SignatureRefused("missing")
        if not signature.isascii():
            raise SignatureRefused("malformed")
        if not any(_signed(body, signature, secret) for secret in self._secrets):
            raise SignatureRefused("mismatch")
        # The package compares with the machine's clock, and looks only backward.
        age_seconds = int(at.timestamp()) - _signed_at(signature)
        if age_seconds > TOLERANCE_SECONDS:
            raise SignatureRefused("too_old")
        if age_seconds < -TOLERANCE_SECONDS:
            raise SignatureRefused("in_the_future")


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _signed_at(signature: str) -> int:
    parts = (part.split("=", 2) for part in signature.split(","))
    return next(int(part[1]) for part in parts if part[0] == "t")


@asynccontextmanager
async def _mapped() -> AsyncGenerator[None]:
    try:
        yield
    except stripe.InvalidRequestError as error:
        if error.http_status == 404:  # noqa: PLR2004 - HTTP's own number
            raise NotAtProvider(
                f"{error.user_message or 'Stripe has no such object'}: is STRIPE_SECRET_KEY of "
                "the same account and mode as the endpoint? Set it, then replay."
            ) from error
        raise Unreadable(f"Stripe did not understand our request: {error}") from error
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise Unavailable("Stripe refuses our key: set STRIPE_SECRET_KEY anew.") from error
    except (stripe.StripeError, TimeoutError) as error:
        raise Unavailable(f"Stripe did not answer: {type(error).__name__}.") from error
