"""GraphQL: schema, executor and transport."""

from __future__ import annotations

from api.billing.inbox import Inbox
from api.billing.stripe_door import StripeDoor
from api.gates.access import Access
from api.schema.build import build_schema
from api.schema.document_limits import DocumentLimits
from api.schema.execution import Executor
from api.schema.services import Services
from api.web.graphql import GraphQLApp
from api.web.protection import Protection
from api.wiring.foundation import Core
from api.wiring.operating import (
    bookkeeping_of,
    explain_of,
    minting_of,
    rebuild_of,
    refunding_of,
)
from api.wiring.payments import (
    actions_of,
    catch_up_of,
    pusher_of,
    reconciliation_of,
    reconciliation_queue_of,
    stripe_of,
    support_actions_of,
)


def graphql_of(
    core: Core,
    access: Access,
    inbox: Inbox,
    protection: Protection | None = None,
    stripe: StripeDoor | None = None,
) -> GraphQLApp:
    """Build what answers at ``/graphql``; its instants come from the core's clock.

    Give the ``protection`` of the other doors, so that requests are counted together, and
    the ``stripe`` door that is closed in the end; else there is one of its own.
    """
    settings = core.settings
    if protection is None:
        protection = Protection(settings.rate_limit_per_second, settings.rate_limit_burst)
    door = stripe or stripe_of(settings)
    services = Services(
        database=core.database,
        revisions=core.revisions,
        customers=core.customers,
        changes=core.changes,
        gate=core.gate,
        releases=core.releases,
        holding=core.holding,
        repair=core.repair,
        usage=core.usage,
        access=access,
        minting=minting_of(core, access),
        explain=explain_of(core),
        rebuild=rebuild_of(core),
        inbox=inbox,
        reconciliation=reconciliation_of(core, door),
        findings=reconciliation_queue_of(core, door),
        catch_up=catch_up_of(core, door),
        pusher=pusher_of(core, door),
        billing=actions_of(core, door),
        support_billing=support_actions_of(core, door),
        bookkeeping=bookkeeping_of(core),
        refunding=refunding_of(core),
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
    return GraphQLApp(
        Executor(build_schema(), limits, open_schema=settings.development),
        services,
        core.clock,
        protection,
        development=settings.development,
        max_body_bytes=settings.max_body_bytes,
    )
