"""Operations that were charged more than is right, and giving the difference back.

An operation is judged whole: all it ever paid for the feature, less all that came back of that,
against what its units should have cost. So windows may overlap, a cost may be corrected twice, and
a repeat returns nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from api.domain.catalog import Bucket, CreditCost
from api.domain.credits import Burned, cost_of
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.ledger.entries import Kind, Movement, Why, lock, post
from api.ledger.grants import NewGrant, give

_sql = Queries.load("credits")

OPERATIONS_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Window:
    """Which operations: those that paid for the feature in ``[since, until)``."""

    feature_id: int
    since: datetime
    until: datetime


class Spender(NamedTuple):
    """A customer who paid for the feature in the window."""

    id: int
    key: str


class Part(NamedTuple):
    """What one grant paid of an operation, what of that came back already, and what it is like."""

    grant_id: int
    spent: int
    returned: int
    bucket: Bucket
    priority: int
    features: frozenset[int] | None
    lasts: timedelta | None
    expires_at: datetime | None

    def over_by(self, at: datetime) -> bool:
        """Tell whether the grant had expired by then."""
        return self.expires_at is not None and self.expires_at <= at


@dataclass(frozen=True, slots=True)
class Overcharge:
    """One operation that paid too much. ``over`` is what is still to be returned, above zero."""

    operation_id: str
    units: int
    charged: int
    returned: int
    right: int
    parts: tuple[Part, ...]

    @property
    def over(self) -> int:
        """The difference: what was paid, less what came back, less what is right."""
        return self.charged - self.returned - self.right

    def backwards(self) -> tuple[Burned, ...]:
        """Spread the difference over the grants that paid, the last in burn order first.

        ``sum(result) == over``: no grant gets more than it paid.
        """
        back: list[Burned] = []
        left = self.over
        for part in reversed(self.parts):
            given = min(left, part.spent - part.returned)
            if given > 0:
                back.append(Burned(part.grant_id, given))
                left -= given
        return tuple(back)


@dataclass(frozen=True, slots=True)
class Difference:
    """What one customer is owed: over how many operations, and how many credits."""

    customer_id: int
    customer: str
    operations: int
    charged: int
    right: int
    returned: int
    credits: int


async def spenders(database: Database, window: Window, after: int, limit: int) -> list[Spender]:
    """Return customers who paid for the feature in the window, by number, past ``after``.

    Cost: a pass over the entries of the window.
    """
    rows = await database.fetch(
        _sql.spenders, window.feature_id, window.since, window.until, after, limit
    )
    return [Spender(row["id"], row["key"]) for row in rows]


async def overcharged(
    source: Connection | Database,
    customer_id: int,
    window: Window,
    cost: CreditCost,
    after: str = "",
) -> tuple[list[Overcharge], str | None]:
    """Return a customer's operations that paid too much, and where to go on (None: nowhere).

    Cost: one statement for at most ``OPERATIONS_TOGETHER`` operations.
    """
    rows = await source.fetch(
        _sql.paid_operations,
        customer_id,
        window.feature_id,
        window.since,
        window.until,
        after,
        OPERATIONS_TOGETHER,
    )
    found: list[Overcharge] = []
    operations = 0
    last = after
    for last, group in groupby(rows, key=lambda row: str(row["operation_id"])):
        operations += 1
        of = list(group)
        parts = tuple(_part(row) for row in of)
        units: int = of[0]["units"]
        kept: int = max(0, units - of[0]["released"])
        one = Overcharge(
            operation_id=last,
            units=kept,
            charged=sum(part.spent for part in parts),
            returned=sum(part.returned for part in parts),
            # As a release leaves it: the share of the units kept, rounded up to a whole credit.
            right=-(-cost_of(cost, units) * kept // units) if units else 0,
            parts=parts,
        )
        if one.over > 0:
            found.append(one)
    return found, last if operations == OPERATIONS_TOGETHER else None


async def difference(
    source: Connection | Database, spender: Spender, window: Window, cost: CreditCost
) -> Difference:
    """Return what a customer is owed now, and change nothing."""
    found: list[Overcharge] = []
    after: str | None = ""
    while after is not None:
        more, after = await overcharged(source, spender.id, window, cost, after)
        found += more
    return _difference(spender, found)


async def give_back(
    conn: Connection,
    spender: Spender,
    window: Window,
    cost: CreditCost,
    why: Why,
    at: datetime,
) -> Difference:
    """Return to a customer what it paid too much, to the grants that paid, the last one first.

    One that has expired since loses it again, and another like it, which lasts as long as that one
    did, is given in its place. Each entry carries the name of the operation that it mends.
    Repeated, it finds nothing more to return.
    """
    await lock(conn, [spender.id])
    done: list[Overcharge] = []
    after: str | None = ""
    while after is not None:
        found, after = await overcharged(conn, spender.id, window, cost, after)
        await post(conn, list(_returns(found, spender.id, window.feature_id, why, at)))
        await give(conn, list(_instead(found, spender.id, window.feature_id, why, at)), at)
        done += found
    return _difference(spender, done)


def _returns(
    found: Sequence[Overcharge], customer_id: int, feature_id: int, why: Why, at: datetime
) -> Iterator[Movement]:
    for one in found:
        named = why._replace(operation_id=one.operation_id)
        for grant_id, credits in one.backwards():  # noqa: A001 - the field's own word
            # Without units: none of them is given back.
            yield Movement(customer_id, Kind.RETURN, grant_id, credits, at, named, feature_id)


def _instead(
    found: Sequence[Overcharge], customer_id: int, feature_id: int, why: Why, at: datetime
) -> Iterator[NewGrant]:
    for one in found:
        ended = {part.grant_id: part for part in one.parts if part.over_by(at)}
        for grant_id, credits in one.backwards():  # noqa: A001 - likewise
            part = ended.get(grant_id)
            if part is not None:
                yield NewGrant(
                    customer_id,
                    # What came back before tells a second correction from the first.
                    f"refund:{feature_id}:{grant_id}:{part.returned}:{one.operation_id}",
                    part.bucket,
                    part.priority,
                    credits,
                    at,
                    why._replace(
                        operation_id=one.operation_id,
                        reason=f"{why.reason} (in place of grant {grant_id}, which has expired)",
                    ),
                    None if part.lasts is None else at + part.lasts,
                    part.features,
                )


def _part(row: Record) -> Part:
    expires_at: datetime | None = row["expires_at"]
    return Part(
        grant_id=row["grant_id"],
        spent=row["spent"],
        returned=row["returned"],
        bucket=Bucket(row["bucket"]),
        priority=row["priority"],
        features=None if row["features"] is None else frozenset(row["features"]),
        lasts=None if expires_at is None else expires_at - row["effective_at"],
        expires_at=expires_at,
    )


def _difference(spender: Spender, found: Sequence[Overcharge]) -> Difference:
    return Difference(
        customer_id=spender.id,
        customer=spender.key,
        operations=len(found),
        charged=sum(one.charged for one in found),
        right=sum(one.right for one in found),
        returned=sum(one.returned for one in found),
        credits=sum(one.over for one in found),
    )
