"""Who spends most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.domain.errors import InvalidInput
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("credits")

MOST = 1000


@dataclass(frozen=True, slots=True)
class FeatureSpend:
    """What one customer spent on one feature, and for how many units."""

    feature: str | None
    units: int
    credits: int


@dataclass(frozen=True, slots=True)
class HeavyUser:
    """One customer's spending; ``share`` is its part of what all customers spent, 0 to 1."""

    customer_id: int
    customer: str
    credits: int
    share: float
    features: tuple[FeatureSpend, ...]


async def heavy_users(
    database: Database, since: datetime, until: datetime, first: int = 20
) -> list[HeavyUser]:
    """Return the customers who spent most credits in ``[since, until)``, the heaviest first.

    Credits returned in it are taken off; who spent nothing then is not named.
    Raises: InvalidInput. Cost: one pass over the entries of the window, of all customers.
    """
    if since >= until:
        raise InvalidInput("from must lie before to.")
    if not 1 <= first <= MOST:
        raise InvalidInput(f"first must be 1 to {MOST}, not {first}.")
    features: dict[int, list[FeatureSpend]] = {}
    heads: dict[int, tuple[str, int, int]] = {}
    for row in await database.fetch(_sql.heavy_users, since, until, first):
        heads[row["customer_id"]] = (row["customer"], row["credits"], row["everything"])
        features.setdefault(row["customer_id"], []).append(
            FeatureSpend(row["feature"], row["feature_units"], row["feature_credits"])
        )
    return [
        HeavyUser(customer_id, key, spent, _share(spent, everything), tuple(features[customer_id]))
        for customer_id, (key, spent, everything) in heads.items()
    ]


def _share(part: int, whole: int) -> float:
    # More may have been returned in the window than was spent in it, by the others.
    return min(part / whole, 1.0) if whole > 0 else 1.0
