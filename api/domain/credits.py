"""Credits: what an action costs, and which grants pay for it.

Every amount is a whole number of credits. A cost is rounded once, for the units of one call
together, as the catalog says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from api.domain.catalog import MAX_UNITS, Bucket, CreditCost, Pack, Rounding

GrantId = int


@dataclass(frozen=True, slots=True)
class Grant:
    """Credits given: from when, until when, and for which features (None: for all).

    A lower ``priority`` burns first.
    """

    id: GrantId
    bucket: Bucket
    priority: int
    effective_at: datetime
    created_at: datetime
    expires_at: datetime | None = None
    features: frozenset[str] | None = None

    def pays(self, feature: str, at: datetime) -> bool:
        """Tell whether it may pay for ``feature`` at that instant."""
        ended = self.expires_at is not None and self.expires_at <= at
        restricted = self.features is not None and feature not in self.features
        return self.effective_at <= at and not ended and not restricted


class Burned(NamedTuple):
    """Credits taken from one grant."""

    grant: GrantId
    credits: int


class BurnDown(NamedTuple):
    """Which grants pay how much; ``uncovered`` is what none could pay."""

    burned: tuple[Burned, ...]
    uncovered: int


def burn_order(grant: Grant) -> tuple[int, bool, datetime, datetime, GrantId]:
    """Return the total order in which grants are used up.

    Priority, earliest expiry, earliest creation, id: two grants never tie.
    """
    never = grant.expires_at is None
    return (grant.priority, never, grant.expires_at or grant.created_at, grant.created_at, grant.id)


def burn_down(
    grants: Iterable[Grant],
    balances: Mapping[GrantId, int],
    *,
    credits: int,  # noqa: A002 - the field's own word
    feature: str,
    at: datetime,
) -> BurnDown:
    """Spread ``credits`` over the grants that pay for ``feature`` at that instant, in burn order.

    Every credit lands exactly once: ``sum(burned) + uncovered == credits``.
    Cost: O(g log g) for g grants.
    """
    burned: list[Burned] = []
    left = credits
    for grant in sorted(grants, key=burn_order):
        taken = min(left, balances.get(grant.id, 0)) if grant.pays(feature, at) else 0
        if taken > 0:
            burned.append(Burned(grant.id, taken))
            left -= taken
    return BurnDown(tuple(burned), left)


def cost_of(cost: CreditCost, units: int) -> int:
    """Return the credits that ``units`` cost together; ``units`` 0 cost nothing."""
    if units == 0:
        return 0
    whole, rest = divmod(units * cost.credits, cost.per)
    if cost.rounding is Rounding.NEAREST:
        up = 2 * rest >= cost.per
    else:
        up = rest > 0 and cost.rounding is Rounding.UP
    return max(cost.minimum, whole + up)


def most_units(cost: CreditCost, credits: int) -> int:  # noqa: A002 - the field's own word
    """Return the most units that ``credits`` pay for together, at most 2^53 - 1.

    ``cost_of(most_units(c)) <= c < cost_of(most_units(c) + 1)``. Cost: 53 steps.
    """
    least, most = 0, MAX_UNITS
    while least < most:
        middle = (least + most + 1) // 2
        if cost_of(cost, middle) <= credits:
            least = middle
        else:
            most = middle - 1
    return least


def packs_that_help(
    packs: Iterable[Pack], customer_type: str, feature: str, short: int
) -> Sequence[str]:
    """Return the public packs of which one would cover what is ``short``, the smallest first.

    Where none is large enough, all that pay for the feature, the largest first: several help.
    """
    helping = [p for p in packs if p.public and p.serves(customer_type) and p.pays_for(feature)]
    enough = sorted((p for p in helping if p.credits >= short), key=lambda p: (p.credits, p.key))
    if enough:
        return tuple(p.key for p in enough)
    return tuple(p.key for p in sorted(helping, key=lambda p: (-p.credits, p.key)))
