"""What a worker process is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from api.billing.stripe_door import StripeDoor
from api.billing.worker import InboxWorker
from api.infra.clock import Clock
from api.infra.settings import Settings
from api.wiring.foundation import Core, core, engines_of
from api.wiring.payments import inbox_worker_of, stripe_of


@asynccontextmanager
async def working(
    settings: Settings, clock: Clock
) -> AsyncGenerator[tuple[Core, InboxWorker, StripeDoor]]:
    """Build the core and the handling of events, on the engines that the settings name."""
    async with core(settings, clock, *engines_of(settings)) as built, stripe_of(settings) as stripe:
        yield built, inbox_worker_of(built, stripe), stripe
