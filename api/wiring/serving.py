"""What a serving process is made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from api.billing.inbox import Inbox
from api.gates.access import Access
from api.gates.consume import Gate
from api.gates.releases import Releases
from api.infra.clock import Clock
from api.infra.settings import Settings
from api.schema.build import build_schema
from api.schema.document_limits import DocumentLimits
from api.schema.execution import Executor
from api.schema.services import Services
from api.web.graphql import GraphQLApp
from api.web.parts import Readiness
from api.web.protection import Protection
from api.web.readiness import readiness_of
from api.web.routes import build_app
from api.wiring.credentials import access_of
from api.wiring.foundation import Core, core, engines_of
from api.wiring.operating import explain_of, minting_of, rebuild_of
from api.wiring.payments import inbox_of, stripe_of


@dataclass(frozen=True, slots=True)
class WebParts:
    """Everything that the HTTP edge asks for; see ``api.web.parts``."""

    settings: Settings
    clock: Clock
    gate: Gate
    releases: Releases
    access: Access
    protection: Protection
    readiness: Mapping[str, Readiness]
    inbox: Inbox | None
    graphql: ASGIApp | None


@asynccontextmanager
async def serving(settings: Settings, clock: Clock) -> AsyncGenerator[ASGIApp]:
    """Build the application, on the engines that the settings name.

    Raises: Unavailable when the record cannot be reached.
    """
    async with AsyncExitStack() as stack:
        built = await stack.enter_async_context(core(settings, clock, *engines_of(settings)))
        access = await access_of(built)
        await stack.enter_async_context(access.keys.follow(clock))
        stripe = await stack.enter_async_context(stripe_of(settings))
        inbox = inbox_of(built, stripe)
        protection = Protection(settings.rate_limit_per_second, settings.rate_limit_burst)
        parts = WebParts(
            settings=settings,
            clock=clock,
            gate=built.gate,
            releases=built.releases,
            access=access,
            protection=protection,
            readiness=readiness_of(built.database, built.door, built.revisions),
            # Without a secret nothing can be verified, so the route does not exist.
            inbox=inbox if settings.stripe_webhook_secrets else None,
            graphql=_graphql(built, access, inbox, protection),
        )
        yield build_app(parts)


def _graphql(built: Core, access: Access, inbox: Inbox, protection: Protection) -> GraphQLApp:
    settings = built.settings
    limits = DocumentLimits(
        bytes=settings.max_document_bytes,
        tokens=settings.max_document_tokens,
        depth=settings.max_document_depth,
        aliases=settings.max_document_aliases,
        directives=settings.max_document_directives,
    )
    services = Services(
        database=built.database,
        revisions=built.revisions,
        customers=built.customers,
        changes=built.changes,
        gate=built.gate,
        releases=built.releases,
        repair=built.repair,
        usage=built.usage,
        access=access,
        minting=minting_of(built, access),
        explain=explain_of(built),
        rebuild=rebuild_of(built),
        inbox=inbox,
        max_page_size=settings.max_page_size,
        max_batch=settings.max_batch,
    )
    return GraphQLApp(
        Executor(build_schema(), limits, open_schema=settings.development),
        services,
        built.clock,
        protection,
        development=settings.development,
        max_body_bytes=settings.max_body_bytes,
    )
