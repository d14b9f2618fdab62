"""What a customer has of credits, by bucket, and the grants that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import MAX_UNITS, Bucket
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("credits")

MOST_IN_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class BucketBalance:
    """Credits of one bucket; ``held`` are set aside and not among the ``available``."""

    bucket: Bucket
    available: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits by bucket, every bucket named. What has expired counts zero."""

    buckets: tuple[BucketBalance, ...]

    @property
    def available(self) -> int:
        """What may be spent, by whatever feature its grants allow."""
        return sum(bucket.available for bucket in self.buckets)

    @property
    def held(self) -> int:
        """What is set aside."""
        return sum(bucket.held for bucket in self.buckets)


@dataclass(frozen=True, slots=True)
class GrantStanding:
    """One grant, and what is left of it; ``features`` None: it pays for all."""

    id: int
    bucket: Bucket
    priority: int
    units: int
    available: int
    held: int
    effective_at: datetime
    expires_at: datetime | None
    features: tuple[str, ...] | None
    reason: str
    actor: str
    reference: str | None
    correlation_id: str | None
    created_at: datetime

    def usable(self, at: datetime) -> int:
        """Return what of it may be spent at that instant."""
        ended = self.expires_at is not None and self.expires_at <= at
        return 0 if ended or at < self.effective_at else self.available


async def balances(
    source: Connection | Database, customer_ids: Sequence[int], at: datetime
) -> dict[int, Balance]:
    """Return what each of these customers has now; ``at`` is this instant.

    Cost: one statement over the customers' grants.
    """
    found: dict[int, list[Record]] = {customer_id: [] for customer_id in customer_ids}
    for row in await source.fetch(_sql.balances, list(customer_ids), at):
        found[row["customer_id"]].append(row)
    return {customer_id: _balance(rows) for customer_id, rows in found.items()}


async def balance_at(source: Connection | Database, customer_id: int, at: datetime) -> Balance:
    """Return what a customer had at any instant. Cost: a sum of its entries up to then."""
    return _balance(await source.fetch(_sql.balance_at, customer_id, at))


async def grants(
    source: Connection | Database, customer_id: int, first: int = 50, before: int | None = None
) -> list[GrantStanding]:
    """Return at most ``first`` grants of a customer, newest first, older than ``before``."""
    rows = await source.fetch(
        _sql.grants,
        customer_id,
        MAX_UNITS if before is None else before,
        min(max(first, 0), MOST_IN_A_PAGE),
    )
    return [_standing(row) for row in rows]


def _balance(rows: Sequence[Record]) -> Balance:
    of = {
        row["bucket"]: BucketBalance(Bucket(row["bucket"]), row["available"], row["held"])
        for row in rows
    }
    return Balance(tuple(of.get(bucket.value, BucketBalance(bucket)) for bucket in Bucket))


def _standing(row: Record) -> GrantStanding:
    features = row["features"] is not None
    return GrantStanding(
        id=row["id"],
        bucket=Bucket(row["bucket"]),
        priority=row["priority"],
        units=row["units"],
        available=row["available"],
        held=row["held"],
        effective_at=row["effective_at"],
        expires_at=row["expires_at"],
        features=tuple(row["feature_keys"] or ()) if features else None,
        reason=row["reason"],
        actor=row["actor"],
        reference=row["reference"],
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
    )
