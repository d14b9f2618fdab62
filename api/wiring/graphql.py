"""GraphQL: schema, executor and transport."""

from __future__ import annotations

from api.billing.inbox import Inbox
from api.catalog.rebuild import Rebuild
from api.gates.access import Access
from api.gates.explain import Explain
from api.gates.minting import Minting
from api.schema.build import build_schema
from api.schema.document_limits import DocumentLimits
from api.schema.execution import Executor
from api.schema.services import Services
from api.web.graphql import GraphQLApp
from api.web.protection import Protection
from api.wiring.foundation import Core


def graphql_of(core: Core, access: Access, inbox: Inbox) -> GraphQLApp:
    """Build what answers at ``/graphql``; its instants come from the core's clock."""
    settings = core.settings
    services = Services(
        database=core.database,
        revisions=core.revisions,
        customers=core.customers,
        changes=core.changes,
        gate=core.gate,
        releases=core.releases,
        repair=core.repair,
        usage=core.usage,
        access=access,
        minting=Minting(core.database, core.customers, access.tokens),
        explain=Explain(core.database, core.customers, core.revisions, core.gate),
        rebuild=Rebuild(core.database, core.customers, core.changes, core.publisher),
        inbox=inbox,
        max_page_size=settings.max_page_size,
        max_batch=settings.max_batch,
    )
    limits = DocumentLimits(
        bytes=settings.max_document_bytes,
        tokens=settings.max_document_tokens,
        depth=settings.max_document_depth,
        aliases=settings.max_document_aliases,
        directives=settings.max_document_directives,
    )
    executor = Executor(build_schema(), limits, open_schema=settings.development)
    return GraphQLApp(
        executor,
        services,
        core.clock,
        Protection(settings.rate_limit_per_second, settings.rate_limit_burst),
        development=settings.development,
        max_body_bytes=settings.max_body_bytes,
    )
