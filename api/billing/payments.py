"""What is taken back of what a payment bought, and given back, by facts and not by events.

The rule: of a refund the share ``floor(units x refunded / amount)``, of a full refund and while a
dispute is open or lost all, in each case as far as it is left. Where a refund fails or a dispute
is won, what was taken on its account comes back. A purchase and what became of its payment may be
told in any order, so either looks for the other, under the payment's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from api.domain.payments import FactKind, PaymentFact, Standing, Told, standing_of, taken_back
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.telemetry import correlated, correlation_id
from api.ledger.entries import Why, lock
from api.ledger.grants import get, restore, revoke

_sql = Queries.load("billing")

MOST_IN_A_TURN = 200


class Payment(NamedTuple):
    """A payment, by the provider's name of it."""

    provider: str
    id: str

    @property
    def operation_id(self) -> str:
        """The name under which the ledger knows what was taken back for it."""
        return f"payment:{self.provider}:{self.id}"


async def hold(conn: Connection, payment: Payment, at: datetime) -> None:
    """Have a payment to oneself until the transaction ends, also one never heard of before."""
    await conn.execute(_sql.hold_payment, payment.provider, payment.id, at)


async def note(conn: Connection, payment: Payment, told: Sequence[Told], *, whole: bool) -> None:
    """Keep what was told, where it is newer; ``whole``: it is all that there is. Under ``hold``."""
    if whole:
        await conn.execute(_sql.drop_facts, payment.provider, payment.id)
    await conn.execute(
        _sql.note_facts,
        payment.provider,
        payment.id,
        [one.fact.object_id for one in told],
        [one.fact.kind.value for one in told],
        [one.fact.amount_minor for one in told],
        [one.fact.refunded_minor for one in told],
        [one.fact.stands for one in told],
        [one.at for one in told],
        [one.fact.place for one in told],
        [one.by for one in told],
    )


async def settle(conn: Connection, payment: Payment, at: datetime) -> int | None:
    """Take back, or give back, what follows from all that is known; return whom it concerned.

    Computing it again changes nothing, unless something came back since to a grant of which more is
    to be taken. Under ``hold``. Cost: two statements, and six more for each purchase.
    """
    rows = await conn.fetch(_sql.facts_of, payment.provider, payment.id)
    standing = standing_of(_told(row) for row in rows)
    purchases = await conn.fetch(
        _sql.stand_payment,
        payment.provider,
        payment.id,
        standing.amount_minor,
        standing.refunded_minor,
        standing.disputed,
        at,
    )
    for purchase in purchases:
        await _adjust(conn, payment, standing, purchase, at)
    return purchases[0]["customer_id"] if purchases else None


async def owed_turn(database: Database, at: datetime, position: int) -> int:
    """Take back what was spent or held when a payment was refunded or disputed, and came back.

    A worker's turn; safe beside other workers, and to repeat. Raises: Unavailable.
    """
    for row in await database.fetch(_sql.owing, MOST_IN_A_TURN):
        payment = Payment(row["provider"], row["payment_id"])
        with correlated(None):
            async with database.transaction() as conn:
                await hold(conn, payment, at)
                await settle(conn, payment, at)
    return position


async def _adjust(
    conn: Connection, payment: Payment, standing: Standing, purchase: Record, at: datetime
) -> None:
    customer_id, grant_id = purchase["customer_id"], purchase["grant_id"]
    await lock(conn, [customer_id])
    units: int = (await get(conn, customer_id, grant_id))["units"]
    taken: int = await conn.fetchval(_sql.taken_for, customer_id, payment.operation_id, grant_id)
    wanted = taken_back(units, standing)
    actor = f"provider:{payment.provider}"

    def why(reason: str) -> Why:
        return Why(payment.operation_id, reason, actor, payment.id, correlation_id())

    if wanted > taken:
        reason = "payment disputed" if standing.disputed else "payment refunded"
        taken += await revoke(conn, customer_id, grant_id, wanted - taken, why(reason), at)
    elif wanted < taken:
        reason = "dispute or refund withdrawn"
        await restore(conn, customer_id, grant_id, taken - wanted, why(reason), at)
    owed = max(0, wanted - taken)
    await conn.execute(_sql.note_owed, *payment, customer_id, grant_id, owed)


def _told(row: Record) -> Told:
    fact = PaymentFact(
        kind=FactKind(row["kind"]),
        object_id=row["object_id"],
        amount_minor=row["amount_minor"],
        refunded_minor=row["refunded_minor"],
        stands=row["stands"],
        final=bool(row["place"]),
    )
    return Told(fact, row["told_at"], row["told_by"])
