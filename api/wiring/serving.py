"""What a serving process is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.types import ASGIApp

from api.billing.inbox import Inbox
from api.domain.errors import Unavailable
from api.gates.access import Access
from api.gates.consume import Gate
from api.gates.holding import HoldGate
from api.gates.releases import Releases
from api.infra.clock import Clock
from api.infra.settings import Settings
from api.web.parts import Readiness
from api.web.protection import Protection
from api.web.readiness import readiness_of
from api.web.routes import Application, build_app
from api.wiring.credentials import access_of
from api.wiring.foundation import core, engines_of
from api.wiring.graphql import graphql_of
from api.wiring.payments import inbox_of, stripe_of


@dataclass(frozen=True, slots=True)
class WebParts:
    """Everything that the HTTP edge asks for; see ``api.web.parts``."""

    settings: Settings
    clock: Clock
    gate: Gate
    releases: Releases
    holding: HoldGate
    access: Access
    protection: Protection
    readiness: Mapping[str, Readiness]
    inbox: Inbox | None
    graphql: ASGIApp | None


@asynccontextmanager
async def serving(settings: Settings, clock: Clock) -> AsyncGenerator[Application]:
    """Build the application, on the engines that the settings name.

    Raises: Unavailable when the record cannot be reached.
    """
    async with AsyncExitStack() as stack:
        built = await stack.enter_async_context(core(settings, clock, *engines_of(settings)))
        access = await access_of(built)
        await stack.enter_async_context(access.keys.follow(clock))
        stripe = await stack.enter_async_context(stripe_of(settings))
        inbox = inbox_of(built, stripe)
        stack.push_async_callback(_count_refused, inbox, clock)
        protection = Protection(settings.rate_limit_per_second, settings.rate_limit_burst)
        parts = WebParts(
            settings=settings,
            clock=clock,
            gate=built.gate,
            releases=built.releases,
            holding=built.holding,
            access=access,
            protection=protection,
            readiness=readiness_of(built.database, built.door, built.revisions),
            # Without a secret nothing can be verified, so the route does not exist.
            inbox=inbox if settings.stripe_webhook_secrets else None,
            graphql=graphql_of(built, access, inbox, protection, stripe),
        )
        yield build_app(parts)


async def _count_refused(inbox: Inbox, clock: Clock) -> None:
    """Write what was only counted of refused signatures, before this process ends."""
    with suppress(Unavailable):
        await inbox.failures.flush(clock.now())
