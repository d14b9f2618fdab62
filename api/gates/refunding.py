"""Returning to everybody what a feature was charged above its right cost, some customers at a time.

Each customer is one transaction with a row in the audit log, so that it may be stopped anywhere and
told again: what was returned is not returned twice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from api.catalog import audit
from api.catalog.revisions import Revisions
from api.catalog.text import require_reason
from api.domain.catalog import MAX_UNITS, CreditCost, Rounding
from api.domain.errors import InvalidInput, UnknownFeature
from api.gates.booked import Because
from api.infra.postgres import Database
from api.infra.telemetry import correlation_id
from api.ledger import overcharges
from api.ledger.entries import Why
from api.ledger.overcharges import Difference, Window

CUSTOMERS_TOGETHER = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RightCost:
    """What a feature should have cost: nothing said, what the newest catalog says."""

    credits: int | None = None
    per: int | None = None
    rounding: Rounding | None = None
    minimum: int | None = None


THE_CATALOG_S = RightCost()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """What to judge: a feature's operations in ``[since, until)`` by their right cost."""

    feature: str
    since: datetime
    until: datetime
    cost: RightCost = THE_CATALOG_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPage:
    """What some customers are owed, or got back; ``after`` is where to go on, None: nowhere."""

    cost: CreditCost
    dry_run: bool
    customers: tuple[Difference, ...]
    after: int | None

    @property
    def credits(self) -> int:
        """The credits of this page."""
        return sum(one.credits for one in self.customers)


class Refunding:
    """Judges what was charged, and gives the difference back."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        self._database = database
        self._revisions = revisions

    async def page(
        self,
        refund: Refund,
        because: Because,
        *,
        dry_run: bool = True,
        after: int = 0,
        limit: int = CUSTOMERS_TOGETHER,
    ) -> RefundPage:
        """Judge the next ``limit`` customers who paid in the window, past the number ``after``.

        ``dry_run`` only says what would be returned. Raises: UnknownFeature, InvalidInput,
        Unavailable; what was returned until then stays, and is not returned again.
        Cost: a pass over the window's entries, and a transaction for each customer.
        """
        why = Why(
            f"~refund:{secrets.token_urlsafe(12)}",
            require_reason(because.reason),
            because.actor,
            because.reference,
            correlation_id(),
        )
        if refund.since >= refund.until:
            raise InvalidInput("from must lie before to.")
        feature_id, cost = self._right(refund)
        window = Window(feature_id, refund.since, refund.until)
        found = await overcharges.spenders(self._database, window, after, limit)
        owed: list[Difference] = []
        for spender in found:
            if dry_run:
                one = await overcharges.difference(self._database, spender, window, cost)
            else:
                async with self._database.transaction() as conn:
                    one = await overcharges.give_back(conn, spender, window, cost, why, because.at)
                    if one.credits:
                        await audit.record(
                            conn,
                            at=because.at,
                            actor=because.actor,
                            action="credits.refund_overcharged",
                            reason=because.reason,
                            customer_id=spender.id,
                            detail=_detail(refund, cost, one),
                            correlation_id=why.correlation_id,
                        )
            if one.credits:
                owed.append(one)
        following = found[-1].id if found and len(found) == limit else None
        return RefundPage(cost=cost, dry_run=dry_run, customers=tuple(owed), after=following)

    def _right(self, refund: Refund) -> tuple[int, CreditCost]:
        """Return the feature's number, and what it should have cost."""
        newest = self._revisions.newest
        feature_id = newest.feature_ids.get(refund.feature)
        if feature_id is None:
            raise UnknownFeature(f"There is no feature {refund.feature[:200]!r}.")
        said, catalog = refund.cost, newest.catalog.costs.get(refund.feature)
        if said.credits is None:
            if said != THE_CATALOG_S:
                raise InvalidInput("A right cost says its credits; per, rounding and minimum may.")
            if catalog is None:
                raise InvalidInput(
                    f"{refund.feature} costs nothing in the newest catalog: say the right cost."
                )
            return feature_id, catalog
        if not 0 <= said.credits <= MAX_UNITS:
            raise InvalidInput("The credits of a cost are 0 to 2^53 - 1.")
        if said.per is not None and not 1 <= said.per <= MAX_UNITS:
            raise InvalidInput("per is 1 to 2^53 - 1.")
        if said.minimum is not None and not 0 <= said.minimum <= MAX_UNITS:
            raise InvalidInput("The minimum of a cost is 0 to 2^53 - 1.")
        return feature_id, CreditCost(
            refund.feature,
            said.credits,
            per=said.per or 1,
            rounding=said.rounding or Rounding.UP,
            minimum=said.minimum or 0,
        )


def _detail(refund: Refund, cost: CreditCost, one: Difference) -> dict[str, object]:
    return {
        "feature": refund.feature,
        "from": refund.since.isoformat(),
        "to": refund.until.isoformat(),
        "cost": {
            "credits": cost.credits,
            "per": cost.per,
            "rounding": cost.rounding.value,
            "minimum": cost.minimum,
        },
        "operations": one.operations,
        "charged": one.charged,
        "right": one.right,
        "returned_before": one.returned,
        "credits": one.credits,
    }
