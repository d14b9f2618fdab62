"""What everybody works with who writes what events came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.billing import operations
from api.billing.claims import Claim, Claims, DueEvent
from api.billing.payers import Payers
from api.billing.provider import Hint, Provider
from api.catalog.changes import Changes
from api.catalog.revisions import Revisions
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries

_sql = Queries.load("billing")


@dataclass(frozen=True, slots=True)
class Work:
    """Events of one object, what each of them points at, and the claim they are handled under."""

    claim: Claim
    events: Sequence[DueEvent]
    hints: Sequence[Hint]
    at: datetime

    @property
    def object_id(self) -> str:
        """The object that is locked."""
        return self.claim.object_id

    @property
    def ids(self) -> list[int]:
        """The numbers of the events."""
        return [event.id for event in self.events]

    async def done(self, conn: Connection, customer_id: int | None) -> None:
        """Mark the events, in the transaction that wrote what followed from them."""
        await conn.execute(_sql.applied, self.ids, self.at, customer_id)
        await operations.confirm(conn, self.ids, self.at)


@dataclass(frozen=True, slots=True)
class Tools:
    """What reads the provider's objects, and what writes them here."""

    database: Database
    provider: Provider
    changes: Changes
    revisions: Revisions
    claims: Claims
    payers: Payers
