"""What only operators ask for, at the command line and in GraphQL alike."""

from __future__ import annotations

from api.catalog.rebuild import Rebuild
from api.gates.access import Access
from api.gates.bookkeeping import Bookkeeping
from api.gates.explain import Explain
from api.gates.minting import Minting
from api.gates.refunding import Refunding
from api.wiring.foundation import Core


def explain_of(core: Core) -> Explain:
    """Build what explains entitlements."""
    return Explain(core.database, core.customers, core.revisions, core.gate)


def minting_of(core: Core, access: Access) -> Minting:
    """Build what mints customer tokens on record."""
    return Minting(core.database, core.customers, access.tokens)


def rebuild_of(core: Core) -> Rebuild:
    """Build what publishes all customers' rights again."""
    return Rebuild(core.database, core.customers, core.changes, core.publisher)


def bookkeeping_of(core: Core) -> Bookkeeping:
    """Build what gives and takes credits."""
    return Bookkeeping(core.database, core.customers, core.revisions)


def refunding_of(core: Core) -> Refunding:
    """Build what returns credits that were charged above the right cost."""
    return Refunding(core.database, core.revisions)
