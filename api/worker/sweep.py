"""Comparing what the counter store holds of every customer with the record, some at each turn."""

from __future__ import annotations

import logging
from datetime import datetime

from api.catalog import audit
from api.catalog.customers import Customer
from api.catalog.told import Told
from api.domain.snapshot import Snapshot
from api.infra.telemetry import counter
from api.wiring import Core

log = logging.getLogger(__name__)

CUSTOMERS_A_TURN = 200

_DRIFTED = counter("drift_repaired", "Counters that differed from the record and were corrected")
_TOLD_AGAIN = counter(
    "entitlements_repaired", "Stored entitlements that differed from the record and were replaced"
)
_COMPARED = counter("drift_compared", "Customers whose counters were compared with the record")


class DriftSweep:
    """Goes round all customers for ever."""

    def __init__(self, core: Core) -> None:
        self._database = core.database
        self._customers = core.customers
        self._holders = core.holders
        self._changes = core.changes
        self._drift = core.drift
        self._told = Told(core.door)

    async def turn(self, at: datetime, after: int) -> int:
        """Compare the next customers past the number ``after``; return where to go on.

        Customers without counters cost one read each. Raises: Unavailable.
        """
        page = await self._customers.list_(CUSTOMERS_A_TURN, after)
        for customer in page:
            if await self._drift.counters(customer.key):
                snapshot = await self._holders.snapshot(customer.key, at)
                await self._told_again(customer, snapshot, at)
                await self._compare(customer, snapshot, at)
        return page[-1].id if len(page) == CUSTOMERS_A_TURN else 0

    async def _told_again(self, customer: Customer, snapshot: Snapshot, at: datetime) -> None:
        """Tell the counter store anew what it no longer holds as it was told."""
        if not await self._told.differs(customer.key, snapshot):
            return
        # Not if it only changed between the two readings.
        if not await self._told.differs(
            customer.key, await self._holders.snapshot(customer.key, at)
        ):
            return
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor="worker",
                action="entitlements.repair",
                reason="the stored entitlements differed from the record",
                customer_id=customer.id,
            )
        await self._changes.publish(customer.id, at, anew=True)
        _TOLD_AGAIN.inc()
        log.error("entitlements differed from the record", extra={"customer_id": customer.id})

    async def _compare(self, customer: Customer, snapshot: Snapshot, at: datetime) -> None:
        drifts = await self._drift.compare(customer.key, snapshot, at)
        _COMPARED.inc()
        if not drifts:
            return
        detail = {
            "counters": [
                {
                    "feature": drift.feature_id,
                    "window": drift.window.value,
                    "counted": drift.counted,
                    "recorded": drift.recorded,
                }
                for drift in drifts
            ]
        }
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor="worker",
                action="usage.repair",
                reason="the counters differed from the record",
                customer_id=customer.id,
                detail=detail,
            )
        await self._drift.repair(customer.key)
        _DRIFTED.inc(len(drifts))
        log.error("counters differed from the record", extra={"customer_id": customer.id, **detail})
