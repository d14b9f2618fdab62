"""A look: an event of our own, which says that one of the provider's objects is to be read anew.

Whoever learns by another way than the provider's events that an object may have changed (an action
that was answered, a reconciliation that found a difference) leaves a look in the inbox. It is
handled as every hint is: under the object's lock, once, with what it finds written as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from api.billing.provider import Hint, Payload, ProviderInvoice, ProviderPurchase
from api.infra.postgres import Connection
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id

_sql = Queries.load("billing")

PREFIX = "headroom.look."


class Look(StrEnum):
    """What kind of object is to be read."""

    SUBSCRIPTION = "subscription"
    CHECKOUT = "checkout"
    PAYMENT = "payment"
    INVOICE = "invoice"
    CUSTOMER = "customer"


async def look(
    conn: Connection,
    provider: str,
    kind: Look,
    object_ids: Sequence[str],
    at: datetime,
    *,
    soon: bool = False,
) -> None:
    """Have objects read again when the caller has committed; safe to repeat.

    It comes after all events that are due, however many a comparison finds, unless it is to be
    ``soon``: somebody waits for it.
    Cost: one statement.
    """
    await conn.execute(
        _sql.look,
        provider,
        [f"look_{uuid4().hex}" for _ in object_ids],
        PREFIX + kind,
        list(object_ids),
        at,
        correlation_id(),
        not soon,
    )


async def parked(
    conn: Connection, provider: str, kind: Look, object_ids: Sequence[str]
) -> set[str]:
    """Return which of these objects a person is to see to before they are read again."""
    rows = await conn.fetch(_sql.parked_looks, provider, list(object_ids), PREFIX + kind)
    return {row["object_id"] for row in rows}


def named_by(payload: Payload, object_id: str) -> str:
    """Return what is to be read: the locked object, or one that is written under its lock."""
    return str(payload.get("look", object_id))


def hint_of(event_type: str, object_id: str) -> Hint | None:
    """Return what a look points at; None where the event is the provider's own."""
    if not event_type.startswith(PREFIX):
        return None
    match Look(event_type.removeprefix(PREFIX)):
        case Look.SUBSCRIPTION:
            return Hint(object_id, None, None)
        case Look.CHECKOUT:
            return Hint(None, None, None, purchase=_unread(object_id))
        case Look.PAYMENT:
            return Hint(None, None, None, payment=object_id)
        case Look.INVOICE:
            return Hint(None, None, None, invoice=ProviderInvoice(object_id, None, None, None))
        case Look.CUSTOMER:
            return Hint(None, object_id, None)


def _unread(checkout_id: str) -> ProviderPurchase:
    return ProviderPurchase(
        id=checkout_id,
        customer=None,
        customer_key=None,
        pack="",
        quantity="",
        payment=None,
        amount_minor=0,
        paid_at=None,
    )
