"""Stripe's API: the only module that knows the ``stripe`` package.

Failure policy: no answer in time, a lost connection, an error of Stripe's own and a key that is
refused leave here as ``Unavailable``, a limit on our calls as ``Throttled``; an object that is not
there as ``NotAtProvider``; a payment that was declined, or a request that Stripe refuses as things
stand, as ``ProviderRefused``; a request that cannot be meant as ``Unreadable``. Nothing is retried
here: whoever asks knows whether and under which lock to ask again. Only what background work reads
is asked for a few times more, as one answer that is lost should not end a pass of thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import stripe

from api.billing.budget import Budget
from api.billing.problems import (
    KeyLacksRight,
    KeyRefused,
    NotAtProvider,
    ProviderRefused,
    SignatureRefused,
    Throttled,
    Unreadable,
)
from api.domain.errors import Unavailable

VERSION = stripe.api_version
"""The API version that the installed package pins."""

TOLERANCE_SECONDS = 300
_IN_A_PAGE = 100
_MOST_REFUSED = 8
_RESTS_SECONDS = (1.0, 2.0, 4.0)
"""How long background work waits before it reads again what was not answered."""

_Answer = TypeVar("_Answer")


class StripeApi:
    """Calls of Stripe's API under one key; without an ``api_key`` nothing can be asked.

    Without a ``budget`` nothing holds calls back. Those of ``background`` work wait for their share
    of it, and ask again for what Stripe refuses for its number or does not answer.
    """

    def __init__(
        self,
        api_key: str | None,
        api_base: str | None = None,
        timeout_seconds: float = 10.0,
        budget: Budget | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._budget = budget
        self._in_background = False
        self._http: stripe.AIOHTTPClient | None = None
        self._client: stripe.StripeClient | None = None
        if api_key is not None:
            self._http = stripe.AIOHTTPClient(timeout=timeout_seconds)
            self._client = stripe.StripeClient(
                api_key,
                base_addresses={"api": api_base} if api_base else {},
                http_client=self._http,
                max_network_retries=0,
            )
        self.live = api_key is not None and api_key.startswith(("sk_live_", "rk_live_"))

    async def close(self) -> None:
        """Close the connections to Stripe."""
        if self._http is not None:
            await self._http.close_async()  # type: ignore[no-untyped-call] # the package's own

    @property
    def background(self) -> StripeApi:
        """The same calls for work that nobody waits for; closed with this one."""
        other = copy(self)
        other._in_background = True  # noqa: SLF001 - of the same class
        return other

    @property
    def answers(self) -> bool:
        """Whether anything can be asked: a key is configured."""
        return self._client is not None

    @property
    def v1(self) -> stripe.V1Services:
        """The calls that change something; each is handed to ``ask`` before it is awaited."""
        if self._client is None:
            raise RuntimeError("nothing can be asked without a key: ask `answers` first")
        return self._client.v1

    async def ask(self, call: Awaitable[_Answer]) -> _Answer:
        """Make one call.

        Raises: Unavailable, Throttled, NotAtProvider, ProviderRefused, Unreadable.
        """
        if self._budget is not None:
            try:
                await self._budget.take(background=self._in_background)
            except BaseException:
                if asyncio.iscoroutine(call):
                    call.close()
                raise
        try:
            async with _mapped():
                async with asyncio.timeout(self._timeout_seconds):
                    return await call
        except Throttled as error:
            if self._budget is not None:
                self._budget.pause(error.retry_after_seconds)
            raise

    async def read(self, *path: str, **query: Any) -> dict[str, Any]:
        """Read one object as plain values, as Stripe wrote them: decimals are text.

        ``read("subscriptions", "sub_1", expand=["discounts"])`` is
        ``GET /v1/subscriptions/sub_1?expand[]=discounts``. The package signs, sends and tells
        errors apart; its typed objects, which cost more than all the rest, are not built.
        Raises: Unavailable, Throttled, NotAtProvider, ProviderRefused, Unreadable.
        """
        if self._client is None:
            raise RuntimeError("nothing can be asked without a key: ask `answers` first")
        url = "/".join(("/v1", *(quote(part, safe="") for part in path)))
        patience = self._budget if self._in_background else None
        refused, rests = 0, iter(_RESTS_SECONDS)
        while True:
            try:
                answer = await self.ask(self._client.raw_request_async("get", url, **query))
            except KeyRefused:
                raise
            except Throttled:
                refused += 1
                if patience is None or refused > _MOST_REFUSED:
                    raise
                # The budget holds the next call back for as long as Stripe said.
            except Unavailable:
                rest = next(rests, None)
                if patience is None or rest is None:
                    raise
                await patience.rest(rest)
            else:
                found: dict[str, Any] = answer.data
                return found

    async def pages(self, *path: str, **query: Any) -> list[dict[str, Any]]:
        """Return all of a list as plain values. Cost: one call for each hundred; all in memory."""
        return [one async for page in self.each_page(*path, **query) for one in page]

    async def each_page(
        self,
        *path: str,
        **query: Any,
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """Yield a list a hundred at a time, so that its length does not matter."""
        after: dict[str, str] = {}
        more = True
        while more:
            page = await self.read(*path, **query, **after, limit=_IN_A_PAGE)
            found = page["data"]
            more = page["has_more"] and bool(found)
            if found:
                after = {"starting_after": found[-1]["id"]}
                yield found


def require_signature(
    body: bytes, signature: str | None, secrets: Sequence[str], at: datetime
) -> None:
    """Raise SignatureRefused unless one of ``secrets`` signed ``body``, at about ``at``."""
    if not signature:
        raise SignatureRefused("missing")
    if not signature.isascii():
        raise SignatureRefused("malformed")
    if not any(_signed(body, signature, secret) for secret in secrets):
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
    except stripe.RateLimitError as error:
        raise Throttled("Stripe limits our calls.", _retry_after(error)) from error
    except stripe.CardError as error:
        raise ProviderRefused(
            error.user_message or "The payment was declined.", declined=True
        ) from error
    except stripe.IdempotencyError as error:
        if error.code == "idempotency_key_in_use":
            raise Unavailable("Stripe is still at work on this very operation.") from error
        raise ProviderRefused(
            "Stripe knows this operation with other contents.", declined=False
        ) from error
    except stripe.InvalidRequestError as error:
        if error.http_status == 404:  # noqa: PLR2004 - HTTP's own number
            raise NotAtProvider(
                f"{error.user_message or 'Stripe has no such object'}: is STRIPE_SECRET_KEY of "
                "the same account and mode as the endpoint? Set it, then replay."
            ) from error
        raise Unreadable(f"Stripe did not understand our request: {error}") from error
    except stripe.AuthenticationError as error:
        raise KeyRefused("Stripe refuses our key: set STRIPE_SECRET_KEY anew.") from error
    except stripe.PermissionError as error:
        raise KeyLacksRight(
            "Stripe refuses this to our key: give STRIPE_SECRET_KEY the right, or set another."
        ) from error
    except (stripe.StripeError, TimeoutError) as error:
        raise Unavailable(f"Stripe did not answer: {type(error).__name__}.") from error


def _retry_after(error: stripe.StripeError) -> int | None:
    said = (error.headers or {}).get("retry-after", "")
    return int(said) if said.isdigit() else None
