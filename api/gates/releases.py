"""Giving back what a named consumption took, in the windows in which it was counted.

The record is the judge here: it knows what was taken and what of it was given back already.

Metered units are given back at the instant of the consumption, so a window that has ended is
corrected in the record only; the counters then forget the customer and are filled again.

Units of an allocation are given back by the counters, which judge what is held now, and nothing
else is written down: their journal's entry in the record, under a name made of both operations,
is the release. So a refusal leaves nothing behind, and a process that dies after any line leaves
a release that happened and counts, or none. Releases of one customer's allocations take turns.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import datetime
from typing import NamedTuple

from api.domain import keys
from api.domain.catalog import FeatureKind
from api.domain.errors import IdempotencyConflict, InvalidInput
from api.gates.answers import Numbers
from api.gates.consume import Gate
from api.gates.expectations import expect_key, expect_units
from api.gates.outcome import PRODUCT, Consumption, ConsumptionId
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.infra.telemetry import correlation_id
from api.ledger.entries import Why, lock
from api.ledger.holds import HoldRecord, HoldState
from api.ledger.returns import Kept, give_back
from api.metering.drainer import Drainer
from api.metering.hydration import Hydration
from api.metering.journal import instant

_sql = Queries.load("usage")
_charges = Queries.load("charges")

_OTHER_CONTENTS = "idempotencyKey was used for a release with other contents"


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
        # Whoever waits for the counters holds a connection, and the drain they wait for needs
        # another: more than one at a time could take all of the pool.
        self._one = asyncio.Lock()

    async def release(
        self,
        customer: str,
        feature: str,
        units: int,
        consumption_id: str,
        key: str | None,
        at: int,
        *,
        actor: str = PRODUCT,
    ) -> Consumption:
        """Give back ``units`` of what ``consumption_id`` took of ``feature``.

        Never more than it took, all releases together; the same key gives back once, whenever it
        is told again. Units that credits paid for are given back first, and their credits with
        them.
        Raises: InvalidInput, IdempotencyConflict, UnknownCustomer, Unavailable.
        Cost: a drain of the shard's journal and one transaction; an allocation's waits for the
        counters as well, one at a time in a process.
        """
        found = await self._gate.feature(feature)
        expect_units(units)
        if key is not None:
            expect_key(key)
        consumption = ConsumptionId.decode(consumption_id)
        feature_id = self._gate.feature_id(feature)
        customer_id = await self._numbers.number(customer)
        operation_id = key if key is not None else f"~{secrets.token_urlsafe(12)}"
        await self._gate.catch_up(customer)
        if found.kind is FeatureKind.ALLOCATION:
            name = _name(consumption, operation_id)
            async with self._one, self._database.transaction() as conn:
                await conn.execute(_sql.lock_customer_releases, customer_id)
                await self._drainer.pass_barrier(keys.shard_of(customer))
                before = await _released_before(
                    conn, customer_id, feature_id, consumption, name, units
                )
                if before is None:
                    return await self._gate.release_as(name, customer, feature, units, at)
            windows = (await self._gate.figures(customer, [feature], at))[feature] or ()
            own = ConsumptionId(round(before.timestamp() * 1000), 0, name).encode()
            return Consumption(own, customer, feature, units, windows, replayed=True)
        await self._drainer.pass_barrier(keys.shard_of(customer))
        asked = _Asked(customer_id, feature_id, consumption, operation_id, units, actor)
        async with self._database.transaction() as conn:
            replayed = await _record(conn, asked, instant(at))
        await self._hydration.forget(customer)
        windows = (await self._gate.figures(customer, [feature], at))[feature] or ()
        own = ConsumptionId(consumption.at_ms, consumption.item, operation_id).encode()
        return Consumption(own, customer, feature, units, windows, replayed=replayed)


class _Asked(NamedTuple):
    """One release of metered units."""

    customer_id: int
    feature_id: int
    consumption: ConsumptionId
    operation_id: str
    units: int
    actor: str


class _Consumed(NamedTuple):
    """One item of a consumption: its units, and those of them that credits paid for."""

    units: int
    charged: int


async def _record(conn: Connection, asked: _Asked, at: datetime) -> bool:
    """Record the release unless it was before; tell whether it was.

    Usage, the register of releases and the ledger change together. The ledger's lock comes first,
    as in every decision: so nobody waits crosswise.
    """
    customer_id, feature_id, consumption, operation_id, units, actor = asked
    await lock(conn, [customer_id])
    await conn.execute(_sql.lock_customer_usage, customer_id)
    taken = await _taken(conn, customer_id, feature_id, consumption)
    named = (customer_id, consumption.operation_id, instant(consumption.at_ms))
    before = await conn.fetchrow(_sql.find_release, *named, operation_id)
    if before is not None:
        if (before["item"], before["units"]) != (consumption.item, units):
            raise IdempotencyConflict(_OTHER_CONTENTS)
        return True
    released = await conn.fetchval(_sql.released_of, *named, consumption.item)
    _expect_left(taken.units, released, units)
    charged_before = min(taken.charged, released)
    charged_after = min(taken.charged, released + units)
    await conn.execute(
        _sql.record_release,
        *named,
        operation_id,
        consumption.item,
        units,
        at,
        feature_id,
        charged_after - charged_before,
    )
    await conn.fetchval(
        _sql.record_events,
        [customer_id],
        [_name(consumption, operation_id)],
        [consumption.item],
        [instant(consumption.at_ms)],
        [feature_id],
        [-units],
        ["release"],
        [charged_before - charged_after],
    )
    if charged_after > charged_before:
        kept = Kept(taken.charged, taken.charged - charged_before, taken.charged - charged_after)
        why = Why(consumption.operation_id, "released", actor, operation_id, correlation_id())
        await give_back(conn, customer_id, feature_id, kept, why, at)
    return False


async def _released_before(
    conn: Connection,
    customer_id: int,
    feature_id: int,
    consumption: ConsumptionId,
    name: str,
    units: int,
) -> datetime | None:
    """Return when the release of that name was counted; None if it was not and yet may be."""
    taken = await _taken(conn, customer_id, feature_id, consumption)
    rows = await conn.fetch(
        _sql.counted_releases,
        customer_id,
        feature_id,
        instant(consumption.at_ms),
        _stem(consumption),
    )
    own, _, item = name.rpartition(".")
    released = 0
    for row in rows:
        other, _, of_item = row["operation_id"].rpartition(".")
        if other == own:
            if (of_item, row["units"]) != (item, units):
                raise IdempotencyConflict(_OTHER_CONTENTS)
            counted_at: datetime = row["at"]
            return counted_at
        if of_item == item:
            released += int(row["units"])
    _expect_left(taken.units, released, units)
    return None


def _expect_left(taken: int, released: int, units: int) -> None:
    if released + units > taken:
        raise InvalidInput(
            f"the consumption took {taken} units and {released} were given back already; "
            f"{units} more cannot be"
        )


def _stem(consumption: ConsumptionId) -> str:
    """Return what the names of all releases of a consumption begin with."""
    return f"~release:{_digest(f'{consumption.at_ms:x}.{consumption.operation_id}')}."


def _name(consumption: ConsumptionId, operation_id: str) -> str:
    """Return the name of a release in the record: no caller can give it, and no two share it."""
    return f"{_stem(consumption)}{_digest(operation_id)}.{consumption.item:x}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def _taken(
    conn: Connection, customer_id: int, feature_id: int, consumption: ConsumptionId
) -> _Consumed:
    at = instant(consumption.at_ms)
    rows = await conn.fetch(_sql.consumption_items, customer_id, consumption.operation_id, at)
    for row in rows:
        if row["item"] == consumption.item:
            # Else an allocation's name would let a customer's token correct what was used.
            if row["feature_id"] != feature_id:
                raise InvalidInput("consumptionId names a consumption of another feature")
            if row["kind"] == "hold":
                return await _captured(conn, customer_id, consumption.operation_id)
            return _Consumed(row["units"], row["charged"])
    raise InvalidInput("consumptionId names no consumption of this customer")


async def _captured(conn: Connection, customer_id: int, hold_id: str) -> _Consumed:
    """Return what a hold took for good."""
    row = await conn.fetchrow(_charges.find_hold, customer_id, hold_id)
    if row is None:
        raise InvalidInput("consumptionId names a hold that was never decided")
    hold = HoldRecord.of(row)
    if hold.state is HoldState.OPEN:
        raise InvalidInput("consumptionId names an open hold: capture or void it")
    return _Consumed(hold.captured, max(0, hold.captured - (hold.units - hold.charged)))
