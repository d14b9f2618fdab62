"""The ledger of credits: rows that move an amount from one account of a customer to another.

Accounts: ``issued``, ``available``, ``held``, ``spent``, ``expired``, ``revoked``. A row has both
its sides, so all postings of a customer sum to zero; an account is the sum of its rows. Rows are
only added: the table refuses anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from api.infra.postgres import Connection
from api.infra.queries import Queries

_sql = Queries.load("ledger")


class Kind(Enum):
    """What a row does: its word, and the accounts that it takes from and gives to."""

    GRANT = ("grant", "issued", "available")
    SPEND = ("spend", "available", "spent")
    HOLD = ("hold", "available", "held")
    CAPTURE = ("capture", "held", "spent")
    RELEASE = ("release", "held", "available")
    RETURN = ("return", "spent", "available")
    EXPIRE = ("expire", "available", "expired")
    REVOKE = ("revoke", "available", "revoked")
    RESTORE = ("restore", "revoked", "available")

    def __init__(self, word: str, debit: str, credit: str) -> None:
        self.word = word
        self.debit = debit
        self.credit = credit


class Why(NamedTuple):
    """For what a row is written, by whom, and under which names it is found again.

    ``operation_id`` is the consumption's, hold's or act's; ``reference`` the outside world's name,
    such as a payment or a ticket.
    """

    operation_id: str
    reason: str
    actor: str
    reference: str | None = None
    correlation_id: str | None = None


class Movement(NamedTuple):
    """One row to be written. ``feature_id`` and ``units`` say what the credits were for."""

    customer_id: int
    kind: Kind
    grant_id: int
    amount: int
    at: datetime
    why: Why
    feature_id: int | None = None
    units: int | None = None


async def lock(conn: Connection, customer_ids: Iterable[int]) -> None:
    """Have these customers' ledgers to oneself until the transaction ends.

    Every writer comes here first, and reads what it judges by afterwards.
    """
    await conn.execute(_sql.lock_customers, list(customer_ids))


async def post(conn: Connection, movements: Sequence[Movement]) -> None:
    """Write these rows, in order, and move the balances with them; under ``lock``.

    Raises: CheckViolation, where a balance would become negative: nothing is written then.
    Cost: one statement.
    """
    if not movements:
        return
    await conn.execute(
        _sql.post,
        [m.customer_id for m in movements],
        [m.at for m in movements],
        [m.kind.word for m in movements],
        [m.kind.debit for m in movements],
        [m.kind.credit for m in movements],
        [m.amount for m in movements],
        [m.grant_id for m in movements],
        [m.feature_id for m in movements],
        [m.units for m in movements],
        [m.why.operation_id for m in movements],
        [m.why.reason for m in movements],
        [m.why.actor for m in movements],
        [m.why.reference for m in movements],
        [m.why.correlation_id for m in movements],
    )
