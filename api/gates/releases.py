"""Giving back what a named consumption took, in the windows in which it was counted.

The record is the judge here: it knows what was taken and what of it was given back already. Units
are given back at the instant of the consumption, so a window that has ended is corrected in the
record only; the counters then forget the customer and are filled again.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from api.domain import keys
from api.domain.catalog import FeatureKind
from api.domain.errors import IdempotencyConflict, InvalidInput
from api.gates.answers import Numbers
from api.gates.consume import Gate, expect_key, expect_units
from api.gates.outcome import Consumption, ConsumptionId
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.metering.drainer import Drainer
from api.metering.hydration import Hydration
from api.metering.journal import instant

_sql = Queries.load("usage")


class Releases:
    """Releases by consumption id."""

    def __init__(
        self,
        database: Database,
        drainer: Drainer,
        hydration: Hydration,
        numbers: Numbers,
        gate: Gate,
    ) -> None:
        self._database = database
        self._drainer = drainer
        self._hydration = hydration
        self._numbers = numbers
        self._gate = gate

    async def release(
        self,
        customer: str,
        feature: str,
        units: int,
        consumption_id: str,
        key: str | None,
        at: int,
    ) -> Consumption:
        """Give back ``units`` of what ``consumption_id`` took of ``feature``.

        Never more than it took, all releases together; the same key gives back once.
        Raises: InvalidInput, IdempotencyConflict, UnknownCustomer, Unavailable.
        Cost: a drain of the shard's journal and one transaction.
        """
        found = await self._gate.feature(feature)
        expect_units(units)
        if key is not None:
            expect_key(key)
        consumption = ConsumptionId.decode(consumption_id)
        feature_id = self._gate.feature_id(feature)
        customer_id = await self._numbers.number(customer)
        await self._drainer.drain([keys.shard_of(customer)])
        operation_id = key if key is not None else f"~{secrets.token_urlsafe(12)}"
        allocation = found.kind is FeatureKind.ALLOCATION
        async with self._database.transaction() as conn:
            replayed = await self._record(
                conn, customer_id, feature_id, consumption, operation_id, units, instant(at)
            )
            if not replayed and not allocation:
                await _give_back(conn, customer_id, feature_id, consumption, operation_id, units)
        if allocation:
            # What is held now is the counters' to judge; the id makes a repeat harmless.
            name = f"{operation_id}@{consumption.operation_id}"[-200:].lstrip("~")
            return await self._gate.release(customer, feature, units, name, at)
        await self._hydration.forget(customer)
        windows = (await self._gate.figures(customer, [feature], at))[feature] or ()
        own = ConsumptionId(consumption.at_ms, consumption.item, operation_id).encode()
        return Consumption(own, customer, feature, units, windows, replayed=replayed)

    async def _record(
        self,
        conn: Connection,
        customer_id: int,
        feature_id: int,
        consumption: ConsumptionId,
        operation_id: str,
        units: int,
        at: datetime,
    ) -> bool:
        """Record the release unless it was before; tell whether it was."""
        await conn.execute(_sql.lock_customer_usage, customer_id)
        taken = await _taken(conn, customer_id, feature_id, consumption)
        named = (customer_id, consumption.operation_id)
        before = await conn.fetchrow(_sql.find_release, *named, operation_id)
        if before is not None:
            if (before["item"], before["units"]) != (consumption.item, units):
                raise IdempotencyConflict(
                    f"idempotencyKey {operation_id!r} was used for a release with other contents"
                )
            return True
        released = await conn.fetchval(_sql.released_of, *named, consumption.item)
        if released + units > taken:
            raise InvalidInput(
                f"the consumption took {taken} units and {released} were given back already; "
                f"{units} more cannot be"
            )
        await conn.execute(_sql.record_release, *named, operation_id, consumption.item, units, at)
        return False


async def _taken(
    conn: Connection, customer_id: int, feature_id: int, consumption: ConsumptionId
) -> int:
    at = instant(consumption.at_ms)
    rows = await conn.fetch(_sql.consumption_items, customer_id, consumption.operation_id, at)
    for row in rows:
        if row["item"] == consumption.item:
            # Else an allocation's name would let a customer's token correct what was used.
            if row["feature_id"] != feature_id:
                raise InvalidInput("consumptionId names a consumption of another feature")
            return int(row["units"])
    raise InvalidInput("consumptionId names no consumption of this customer")


async def _give_back(
    conn: Connection,
    customer_id: int,
    feature_id: int,
    consumption: ConsumptionId,
    operation_id: str,
    units: int,
) -> None:
    await conn.fetchval(
        _sql.record_events,
        [customer_id],
        # The release may bear the consumption's own name; the record holds one event of a name.
        [f"~{operation_id}@{consumption.operation_id}"],
        [consumption.item],
        [instant(consumption.at_ms)],
        [feature_id],
        [-units],
        ["release"],
    )
