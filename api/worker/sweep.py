"""Comparing every customer's counters with the record, some customers at each turn."""

from __future__ import annotations

import logging
from datetime import datetime

from api.catalog import audit
from api.catalog.customers import Customer, Customers
from api.catalog.holders import Holders
from api.infra.postgres import Database
from api.infra.telemetry import counter
from api.metering.drift import DriftCheck

log = logging.getLogger(__name__)

CUSTOMERS_A_TURN = 200

_DRIFTED = counter("drift_repaired", "Counters that differed from the record and were corrected")
_COMPARED = counter("drift_compared", "Customers whose counters were compared with the record")


class DriftSweep:
    """Goes round all customers for ever."""

    def __init__(
        self, database: Database, customers: Customers, holders: Holders, drift: DriftCheck
    ) -> None:
        self._database = database
        self._customers = customers
        self._holders = holders
        self._drift = drift

    async def turn(self, at: datetime, after: int) -> int:
        """Compare the next customers past the number ``after``; return where to go on.

        Customers without counters cost one read each. Raises: Unavailable.
        """
        page = await self._customers.list_(CUSTOMERS_A_TURN, after)
        for customer in page:
            if await self._drift.counters(customer.key):
                await self._compare(customer, at)
        return page[-1].id if len(page) == CUSTOMERS_A_TURN else 0

    async def _compare(self, customer: Customer, at: datetime) -> None:
        snapshot = await self._holders.snapshot(customer.key, at)
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
