"""The provider's pages that a customer may have open, as the journal knows them.

Of one basket there is one page, and of plans one in all: two that are completed would be two
subscriptions, and two trials. What cannot be held: pages opened at the same instant, and those that
were made elsewhere. Two subscriptions that come of them are a finding of reconciliation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("pages")

OPEN_FOR = timedelta(hours=24)
"""How long a page is open at most."""

MOST = 10


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was opened, and by which operation; ``plan``: it sells one.

    ``request`` is in the provider's words.
    """

    id: str
    operation_id: str
    fingerprint: str
    request: Mapping[str, Any]
    plan: bool


async def opened(
    database: Database, provider: str, customer_id: int, at: datetime
) -> Sequence[Page]:
    """Return the pages that may be open, the newest first. Cost: one statement."""
    rows = await database.fetch(_sql.pages, provider, customer_id, at - OPEN_FOR, MOST)
    closed = {page for row in rows for page in row["answer"].get("closed", ())}
    return [
        Page(
            id=row["answer"]["checkout"],
            operation_id=row["operation_id"],
            fingerprint=row["fingerprint"],
            request=row["request"]["call"],
            plan=row["request"]["call"]["plan"],
        )
        for row in rows
        if row["answer"]["checkout"] not in closed
    ]
