"""The conversation with the payment provider."""

from __future__ import annotations

from api.billing.inbox import Inbox
from api.billing.pushing import Pusher
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_door import StripeDoor
from api.billing.stripe_shelf import StripeShelf
from api.billing.worker import InboxWorker
from api.infra.settings import Settings
from api.wiring.foundation import Core

ENDPOINT = "/webhooks/stripe"


def stripe_of(settings: Settings) -> StripeDoor:
    """Build the door to Stripe; to be closed."""
    return StripeDoor(
        secrets=settings.stripe_webhook_secrets,
        api_key=settings.stripe_secret_key,
        api_base=settings.stripe_api_base,
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
