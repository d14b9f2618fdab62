"""Packs that were bought: granted once for each checkout, when the money is sure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from api.billing import payments
from api.billing.payments import Payment
from api.billing.problems import BadQuantity, UnknownPack
from api.billing.provider import ProviderPurchase
from api.catalog.revisions import Revision
from api.domain.catalog import MAX_UNITS, Pack
from api.domain.payments import FactKind, PaymentFact, Told
from api.infra.postgres import Connection
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id
from api.ledger.entries import Why
from api.ledger.grants import NewGrant, give

_sql = Queries.load("billing")

MOST_AT_ONCE = 1_000
_WHOLE = re.compile(r"[1-9][0-9]{0,3}")


async def take(
    conn: Connection,
    revision: Revision,
    told: ProviderPurchase,
    *,
    provider: str,
    customer_id: int,
    at: datetime,
) -> None:
    """Grant what was bought if it is paid for and was not granted yet.

    What became of the payment meanwhile is taken back at once. Raises: UnknownPack, BadQuantity.
    Cost: one statement where it was granted before, otherwise about ten.
    """
    if await conn.fetchval(_sql.purchased, provider, told.id) is not None:
        return
    pack, quantity = _judged(revision, told)
    if told.paid_at is None:
        return
    payment = None if told.payment is None else Payment(provider, told.payment)
    if payment is not None:
        await payments.hold(conn, payment, at)
    grant = _grant(revision, pack, quantity, told, (provider, customer_id), at)
    (grant_id,) = await give(conn, [grant], at)
    await conn.execute(
        _sql.note_purchase,
        provider,
        told.id,
        customer_id,
        told.payment,
        pack.key,
        quantity,
        grant_id,
        at,
    )
    if payment is not None:
        price = PaymentFact(FactKind.PURCHASE, told.id, told.amount_minor)
        await payments.note(conn, payment, [Told(price, at, "")], whole=False)
        await payments.settle(conn, payment, at)


def _judged(revision: Revision, told: ProviderPurchase) -> tuple[Pack, int]:
    pack = revision.catalog.packs.get(told.pack)
    if pack is None:
        raise UnknownPack(
            f"The catalog has no pack {told.pack[:200]!r}, which the checkout names in "
            "metadata.headroom_pack: apply a catalog that has it, then replay."
        )
    said = told.quantity.strip()
    quantity = int(said) if _WHOLE.fullmatch(said) else 0
    if not 1 <= quantity <= MOST_AT_ONCE:
        raise BadQuantity(
            f"{told.quantity[:200]!r} is no number of packs: metadata.headroom_quantity is a whole "
            f"number from 1 to {MOST_AT_ONCE}. Correct it at the provider and replay, or grant the "
            "credits with a reason."
        )
    if pack.credits * quantity > MAX_UNITS:
        raise BadQuantity(
            f"{quantity} packs {pack.key!r} are more than {MAX_UNITS} credits. Grant them in "
            "parts, with a reason."
        )
    return pack, quantity


def _grant(
    revision: Revision,
    pack: Pack,
    quantity: int,
    told: ProviderPurchase,
    whose: tuple[str, int],
    at: datetime,
) -> NewGrant:
    provider, customer_id = whose
    source = f"pack:{provider}:{told.id}"
    begins = at if told.paid_at is None else min(told.paid_at, at)
    ends = None if pack.expires_days is None else begins + timedelta(days=pack.expires_days)
    features = {revision.feature_ids[key] for key in pack.features}
    return NewGrant(
        customer_id=customer_id,
        source=source,
        bucket=pack.bucket,
        priority=pack.priority,
        units=pack.credits * quantity,
        effective_at=begins,
        expires_at=ends,
        features=frozenset(features) if features else None,
        why=Why(
            operation_id=source,
            reason=f"{quantity} x {pack.key}",
            actor=f"provider:{provider}",
            reference=told.payment or told.id,
            correlation_id=correlation_id(),
        ),
    )
