"""Two invoices for one period of one subscription: found in the mirror, for a person to decide on.

An invoice for a change within a period is for another amount of the same time, so only those of a
subscription's beginning, of its cycle and those made by hand are compared, where money is asked.
"""

from __future__ import annotations

from datetime import datetime

from api.billing.findings import Finding, QueueKind, enqueue
from api.catalog.alerts import alert
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("invoices")

MOST_AT_ONCE = 500


async def find_double_invoices(database: Database, provider: str, at: datetime) -> int:
    """Queue the later of two such invoices, and raise an alert; once each. Return how many.

    Safe to repeat, and beside others. Raises: Unavailable. Cost: a statement, three per finding.
    """
    new = 0
    for row in await database.fetch(_sql.doubles, provider, MOST_AT_ONCE):
        detail = {
            "subscription": row["subscription_id"],
            "beside": row["beside"],
            "status": row["status"],
            "total_minor": row["total_minor"],
            "paid_minor": row["paid_minor"],
            "currency": row["currency"],
            "period_start": row["period_start"].isoformat(),
        }
        found = Finding(QueueKind.DOUBLE_INVOICE, row["provider_id"], row["customer_id"], detail)
        async with database.transaction() as conn:
            if not await enqueue(conn, provider, found, at):
                continue
            new += 1
            await alert(
                conn,
                found.kind.value,
                f"{row['provider_id']} asks money for the period of {row['beside']}: refund one, "
                "or void it, then resolve the finding.",
                subject=found.object_id,
                at=at,
                period=at,
            )
    return new
