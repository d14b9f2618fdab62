"""Stripe's list of events. Failure policy: that of ``stripe_api``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any

from api.billing import stripe_shapes
from api.billing.provider import ProviderEvent
from api.billing.stripe_api import StripeApi


class StripeEvents:
    """What Stripe told in the last thirty days, also where it reached nobody."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api

    @property
    def name(self) -> str:
        """The word that stands for Stripe in the record."""
        return "stripe"

    @property
    def reads(self) -> bool:
        """Whether it can be asked: a key is configured."""
        return self._api.answers

    @property
    def reach(self) -> timedelta:
        """How far back the list goes."""
        return timedelta(days=30)

    async def events_since(self, since: datetime) -> AsyncGenerator[Sequence[ProviderEvent]]:
        """Yield the events created since then, newest first. Cost: a call for each hundred."""
        pages = self._api.each_page("events", created={"gte": int(since.timestamp())})
        async for page in pages:
            yield [event_of(one) for one in page]


def event_of(payload: dict[str, Any]) -> ProviderEvent:
    """Return an event as its own words tell it. Raises: Unreadable."""
    envelope = stripe_shapes.envelope_of(payload)
    return ProviderEvent(
        id=envelope.id,
        type=envelope.type,
        version=envelope.api_version,
        created_at=stripe_shapes.instant(envelope.created),
        payload=payload,
    )
