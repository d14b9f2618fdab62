"""Why was this refused? Everything that one decision rests on, for whoever is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.catalog import overrides
from api.catalog.customers import Customer, Customers
from api.catalog.overrides import OverrideRecord
from api.catalog.revisions import Revisions
from api.domain.decision import Decision
from api.domain.errors import HeadroomError, UnknownFeature
from api.domain.explanation import Explanation, explain
from api.gates.consume import Gate
from api.infra.postgres import Database


@dataclass(frozen=True, slots=True)
class Explained:
    """One customer's rights to one feature, from the record, and what the gate says of one unit.

    ``decision`` is None where the gate could not say, and ``trouble`` says why.
    """

    customer: Customer
    newest_revision: int
    explanation: Explanation
    override: OverrideRecord | None
    decision: Decision | None
    trouble: str | None


class Explain:
    """Explains entitlements."""

    def __init__(
        self, database: Database, customers: Customers, revisions: Revisions, gate: Gate
    ) -> None:
        self._database = database
        self._customers = customers
        self._revisions = revisions
        self._gate = gate

    async def entitlement(self, customer: str, feature: str, at: datetime) -> Explained:
        """Explain one feature of one customer, by the catalog by which it is judged.

        Raises: UnknownCustomer, UnknownFeature, Unavailable. Cost: six reads and a check.
        """
        found = await self._customers.get(customer)
        held = (await self._customers.many_held([found.id]))[found.id]
        revision = await self._revisions.get(held.customer.catalog_revision)
        if feature not in revision.catalog.features:
            raise UnknownFeature(f"the catalog has no feature {feature[:200]!r}")
        explanation = explain(revision.catalog, held.facts, feature, at)
        promises = (await overrides.by_customers(self._database, [found.id]))[found.id]
        decision, trouble = await self._ask(customer, feature, at)
        return Explained(
            customer=held.customer,
            newest_revision=self._revisions.newest.number,
            explanation=explanation,
            override=next((p for p in promises if p.facts.feature == feature), None),
            decision=decision,
            trouble=trouble,
        )

    async def _ask(
        self, customer: str, feature: str, at: datetime
    ) -> tuple[Decision | None, str | None]:
        try:
            at_ms = int(at.timestamp() * 1000)
            return await self._gate.check(customer, feature, 1, at_ms), None
        except HeadroomError as error:
            return None, error.message
