"""What a customer could spend at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import Bucket
from api.domain.credits import Grant, GrantId, burn_down
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries

_sql = Queries.load("charges")


@dataclass(frozen=True, slots=True)
class Purse:
    """Grants with something left in them; features are named by their numbers, as text."""

    grants: tuple[Grant, ...]
    left: Mapping[GrantId, int]

    def available(self, at: datetime, feature_id: int | None = None) -> int:
        """Return what may be spent at that instant, on that feature only if it is named."""
        return sum(
            self.left[grant.id]
            for grant in self.grants
            if _counts(grant, at) and (feature_id is None or grant.pays(str(feature_id), at))
        )

    def short(self, costs: Iterable[tuple[int, int]], at: datetime) -> int | None:
        """Return which of (feature id, credits), taken in order, is the first not covered.

        None: all are.
        """
        left = dict(self.left)
        for place, (feature_id, cost) in enumerate(costs):
            paid = burn_down(self.grants, left, credits=cost, feature=str(feature_id), at=at)
            if paid.uncovered:
                return place
            for grant_id, taken in paid.burned:
                left[grant_id] -= taken
        return None


async def purse(source: Connection | Database, customer_id: int) -> Purse:
    """Read what the customer has. Cost: one statement."""
    rows = await source.fetch(_sql.live_grants, customer_id)
    grants = tuple(
        Grant(
            id=row["id"],
            bucket=Bucket(row["bucket"]),
            priority=row["priority"],
            effective_at=row["effective_at"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            features=None if row["features"] is None else frozenset(map(str, row["features"])),
        )
        for row in rows
    )
    return Purse(grants, {row["id"]: row["available"] for row in rows})


def _counts(grant: Grant, at: datetime) -> bool:
    return grant.effective_at <= at and (grant.expires_at is None or at < grant.expires_at)
