"""Debits and holds, decided together for all callers of the moment.

Failure policy: with the record out of reach a charge is refused, and nothing was taken as far as
its caller may know: told again under the same operation id it counts once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from api.domain.catalog import CreditCost
from api.domain.errors import Unavailable
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.ledger.together import Together

_sql = Queries.load("charges")

MakePlaces = Callable[[Iterable[datetime]], Awaitable[None]]
"""Makes the partitions that usage at these instants needs."""


class Outcome(IntEnum):
    """What ``credits_charge`` answers; the numbers are its own."""

    DONE = 1
    INSUFFICIENT = 2
    REPLAYED = 3
    CONFLICT = 4
    RIGHTS_CHANGED = 5
    VOIDED = 6
    OTHER_EPOCH = 7


class ChargedItem(NamedTuple):
    """Units of one feature: how many of them are ``charged``, and the ``credits`` they cost."""

    feature_id: int
    units: int
    charged: int
    credits: int


class HoldTerms(NamedTuple):
    """Until when a hold stands, and the price it is placed at."""

    until: datetime
    cost: CreditCost | None


class Charge(NamedTuple):
    """One operation to be decided.

    ``operation_id`` is the caller's name for it, or our own; ``attempt`` the name under which
    counters and usage know this try. ``version`` 0 is not checked; ``shard`` below 0 says that the
    counters took no part. ``answer`` is what is told when it is asked for again.
    """

    customer_id: int
    operation_id: str
    attempt: str
    at: datetime
    fingerprint: str
    expires_at: datetime
    answer: bytes
    items: Sequence[ChargedItem]
    reason: str
    actor: str
    correlation_id: str | None = None
    version: int = 0
    shard: int = -1
    epoch: int = 0
    hold: HoldTerms | None = None


class Paid(NamedTuple):
    """Credits that one bucket paid for one feature, in the order in which they burned."""

    feature_id: int
    bucket: str
    credits: int


class Decided(NamedTuple):
    """What came of a charge.

    ``balance`` is what is available right after; where credits did not suffice, what is. ``answer``
    is the first one where it was decided before; ``paid`` is empty then.
    """

    outcome: Outcome
    credits: int
    balance: int
    paid: Sequence[Paid] = ()
    answer: bytes = b""


class Charges:
    """Decides charges; those of one moment travel in one statement and wait for its commit."""

    def __init__(self, database: Database, make_places: MakePlaces) -> None:
        self._database = database
        self._make_places = make_places
        self._decide = Together[Charge, Decided](
            self._ask,
            name=lambda charge: (charge.customer_id, charge.operation_id),
            order=lambda charge: charge.customer_id,
        )

    async def decide(self, charge: Charge) -> Decided:
        """Debit or hold the whole of ``charge``, or nothing of it.

        Raises: Unavailable; then its outcome is open, and the same operation id finds out.
        Cost: a share of one statement.
        """
        return await self._decide(charge)

    async def _ask(self, charges: Sequence[Charge]) -> list[Decided]:
        await self._make_places([charge.at for charge in charges])
        args = _args(charges)
        try:
            rows = await self._database.fetch(_sql.charge, *args)
        except Unavailable:
            # Perhaps only a connection that broke; whether it was carried out or not, the same
            # operation ids are answered once.
            rows = await self._database.fetch(_sql.charge, *args)
        # Items are numbered through the whole batch, as they were given.
        features = [item.feature_id for charge in charges for item in charge.items]
        return [_decided(features, row) for row in rows]

    async def decide_on(self, conn: Connection, charge: Charge) -> Decided:
        """Decide one charge inside the caller's transaction, whose rollback takes it back."""
        await self._make_places([charge.at])
        rows = await conn.fetch(_sql.charge, *_args([charge]))
        return _decided([item.feature_id for item in charge.items], rows[0])

    async def find(self, customer_id: int, operation_id: str, at: datetime) -> Record | None:
        """Return the decision that is still to be replayed, None if there is none."""
        return await self._database.fetchrow(_sql.find_operation, customer_id, operation_id, at)

    async def paid(self, customer_id: int, attempt: str) -> list[Paid]:
        """Return what an attempt took, in the order in which it burned."""
        rows = await self._database.fetch(_sql.paid_of, customer_id, attempt)
        return [Paid(row["feature_id"], row["bucket"], row["amount"]) for row in rows]


def _decided(features: Sequence[int], row: Record) -> Decided:
    outcome = Outcome(row["outcome"])
    if outcome is Outcome.REPLAYED:
        return Decided(outcome, row["credits"], row["balance"], (), row["first_answer"])
    if row["paid_items"] is None:
        return Decided(outcome, row["credits"], row["balance"])
    paid = [
        Paid(features[item - 1], bucket, credits_)
        for item, bucket, credits_ in zip(
            row["paid_items"], row["paid_buckets"], row["paid_credits"], strict=True
        )
    ]
    return Decided(outcome, row["credits"], row["balance"], paid)


def _args(charges: Sequence[Charge]) -> list[object]:
    """Return the columns of ``credits_charge``, in its order."""
    holding = [charge.hold for charge in charges]
    costs = [None if hold is None else hold.cost for hold in holding]
    items = [(place, n, i) for place, c in enumerate(charges, 1) for n, i in enumerate(c.items)]
    return [
        [c.customer_id for c in charges],
        [c.operation_id for c in charges],
        [c.attempt for c in charges],
        ["consume" if c.hold is None else "hold" for c in charges],
        [c.at for c in charges],
        [c.fingerprint for c in charges],
        [c.expires_at for c in charges],
        [c.version for c in charges],
        [c.shard for c in charges],
        [c.epoch for c in charges],
        [c.answer for c in charges],
        [c.reason for c in charges],
        [c.actor for c in charges],
        [c.correlation_id for c in charges],
        [None if hold is None else hold.until for hold in holding],
        [0 if cost is None else cost.credits for cost in costs],
        [1 if cost is None else cost.per for cost in costs],
        ["up" if cost is None else cost.rounding.value for cost in costs],
        [0 if cost is None else cost.minimum for cost in costs],
        [place for place, _, _ in items],
        [n for _, n, _ in items],
        [i.feature_id for _, _, i in items],
        [i.units for _, _, i in items],
        [i.charged for _, _, i in items],
        [i.credits for _, _, i in items],
    ]
