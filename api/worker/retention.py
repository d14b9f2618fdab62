"""Forgetting what has been kept for as long as the settings say."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.settings import Settings
from api.metering.partitions import Partitions

_sql = Queries.load("retention")
log = logging.getLogger(__name__)

BATCH = 5_000


class Retention:
    """Deletes rows past their time, a batch at a time."""

    def __init__(self, database: Database, partitions: Partitions, settings: Settings) -> None:
        self._database = database
        self._partitions = partitions
        self._settings = settings

    async def forget(self, at: datetime) -> dict[str, int]:
        """Delete whatever is past its time at that instant; return rows by kind.

        Raises: Unavailable; what was deleted by then stays so.
        """
        keep = self._settings
        events = at - timedelta(days=keep.keep_usage_events_days)
        dropped = await self._partitions.drop_before(events)
        answers = at - timedelta(days=keep.keep_operations_days)
        compared = at - timedelta(days=keep.keep_reconciliation_days)
        deletions: dict[str, tuple[str, tuple[object, ...]]] = {
            "totals": (_sql.old_totals, (at - timedelta(days=keep.keep_usage_totals_days),)),
            "releases": (_sql.old_releases, (events,)),
            "answers": (_sql.old_answers, (answers,)),
            "blind operations": (_sql.old_blind, (answers,)),
            "drain positions": (_sql.old_positions, ()),
            "alerts": (_sql.old_alerts, (at - timedelta(days=keep.keep_audit_days),)),
            "audit": (_sql.old_acts, (at - timedelta(days=keep.keep_audit_days),)),
            "webhook events": (
                _sql.old_webhook_events,
                (at - timedelta(days=keep.keep_webhook_events_days),),
            ),
            "payments for no pack": (
                _sql.old_payments,
                (at - timedelta(days=keep.keep_webhook_events_days),),
            ),
            "provider operations": (
                _sql.old_provider_operations,
                (at - timedelta(days=keep.keep_provider_operations_days),),
            ),
            "findings": (_sql.old_findings, (compared,)),
            "reconciliation runs": (_sql.old_runs, (compared,)),
            "signature failures": (
                _sql.old_signature_failures,
                (at - timedelta(days=keep.keep_signature_failures_days),),
            ),
        }
        forgotten = {"months of usage events": len(dropped)}
        for kind, (sql, args) in deletions.items():
            forgotten[kind] = await self._delete(sql, args)
        told = {kind: rows for kind, rows in forgotten.items() if rows}
        if told:
            log.info("forgot what was past its time", extra={"rows": told})
        return forgotten

    async def _delete(self, sql: str, args: tuple[object, ...]) -> int:
        total = 0
        while True:
            deleted = len(await self._database.fetch(sql, *args, BATCH))
            total += deleted
            if deleted < BATCH:
                return total
