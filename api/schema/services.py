"""The parts that answer what the schema asks, built once per process."""

from __future__ import annotations

from dataclasses import dataclass

from api.billing.actions import BillingActions
from api.billing.catch_up import CatchUp
from api.billing.inbox import Inbox
from api.billing.pushing import Pusher
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Reconciliation
from api.billing.support_actions import SupportActions
from api.catalog.changes import Changes
from api.catalog.customers import Customers
from api.catalog.rebuild import Rebuild
from api.catalog.revisions import Revisions
from api.gates.access import Access
from api.gates.bookkeeping import Bookkeeping
from api.gates.consume import Gate
from api.gates.explain import Explain
from api.gates.holding import HoldGate
from api.gates.minting import Minting
from api.gates.refunding import Refunding
from api.gates.releases import Releases
from api.gates.repair import Repair
from api.infra.postgres import Database
from api.metering.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The rooms below, as far as the schema reaches into them.

    ``max_page_size`` and ``max_batch`` bound what one field may ask for.
    """

    database: Database
    revisions: Revisions
    customers: Customers
    changes: Changes
    gate: Gate
    releases: Releases
    holding: HoldGate
    repair: Repair
    usage: Usage
    access: Access
    minting: Minting
    explain: Explain
    rebuild: Rebuild
    inbox: Inbox
    catch_up: CatchUp
    pusher: Pusher
    reconciliation: Reconciliation
    findings: ReconciliationQueue
    billing: BillingActions
    support_billing: SupportActions
    bookkeeping: Bookkeeping
    refunding: Refunding
    max_page_size: int = 100
    max_batch: int = 100
