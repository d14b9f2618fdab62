"""The conversation with the payment provider."""

from __future__ import annotations

from datetime import timedelta

from api.billing.actions import BillingActions
from api.billing.budget import Budget
from api.billing.catch_up import CatchUp
from api.billing.inbox import Inbox
from api.billing.operations import Operations
from api.billing.pushing import Pusher
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Reconciliation
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_acts import StripeActs
from api.billing.stripe_door import StripeDoor
from api.billing.stripe_events import StripeEvents
from api.billing.stripe_shelf import StripeShelf
from api.billing.support_actions import SupportActions
from api.billing.watch import BusinessHours, Watch
from api.billing.worker import InboxWorker
from api.infra.setting_values import hours, weekdays
from api.infra.settings import Settings
from api.wiring.foundation import Core

ENDPOINT = "/webhooks/stripe"


def stripe_of(settings: Settings) -> StripeDoor:
    """Build the door to Stripe; to be closed."""
    return StripeDoor(
        secrets=settings.stripe_webhook_secrets,
        api_key=settings.stripe_secret_key,
        api_base=settings.stripe_api_base,
        budget=Budget(
            settings.stripe_requests_per_second, settings.stripe_background_percent / 100
        ),
    )


def inbox_of(core: Core, stripe: StripeDoor) -> Inbox:
    """Build what takes deliveries in, and shows them."""
    return Inbox(core.database, stripe, SignatureFailures(core.database, ENDPOINT))


def inbox_worker_of(core: Core, stripe: StripeDoor) -> InboxWorker:
    """Build what handles them."""
    return InboxWorker(core.database, stripe, core.changes, core.revisions)


def pusher_of(core: Core, stripe: StripeDoor) -> Pusher:
    """Build what puts the catalog on the provider's shelf."""
    return Pusher(core.database, StripeShelf(stripe.api) if stripe.reads else None)


def operations_of(core: Core, stripe: StripeDoor) -> Operations:
    """Build the journal of what is asked of the provider."""
    return Operations(core.database, StripeActs(stripe.api), core.clock)


def actions_of(core: Core, stripe: StripeDoor) -> BillingActions:
    """Build what customers ask of the provider."""
    return BillingActions(
        core.database,
        core.customers,
        core.revisions,
        operations_of(core, stripe),
        core.settings.billing_return_url,
    )


def support_actions_of(core: Core, stripe: StripeDoor) -> SupportActions:
    """Build what support asks of the provider."""
    return SupportActions(core.customers, operations_of(core, stripe))


def reconciliation_of(core: Core, stripe: StripeDoor) -> Reconciliation:
    """Build what compares the record with Stripe."""
    return Reconciliation(
        core.database,
        StripeAccount(stripe),
        core.revisions,
        keep_payments=timedelta(days=core.settings.keep_webhook_events_days),
    )


def reconciliation_queue_of(core: Core, stripe: StripeDoor) -> ReconciliationQueue:
    """Build what puts findings right."""
    return ReconciliationQueue(
        core.database,
        StripeAccount(stripe),
        core.revisions,
    )


def catch_up_of(core: Core, stripe: StripeDoor) -> CatchUp:
    """Build what fetches events that were never delivered."""
    return CatchUp(core.database, inbox_of(core, stripe), StripeEvents(stripe.api.background))


def watch_of(core: Core, stripe: StripeDoor) -> Watch:
    """Build what looks after the conversation between events."""
    settings = core.settings
    opens, closes = hours(settings.business_hours)
    return Watch(
        core.database,
        stripe.name,
        BusinessHours(settings.business_zone, opens, closes, weekdays(settings.business_days)),
        silence=timedelta(minutes=settings.webhook_silence_minutes),
        burst=settings.signature_burst,
    )
