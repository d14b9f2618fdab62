"""What is answered while the counters are out of reach, by each feature's own policy.

Failure policy, in one line: ``closed`` refuses; ``open`` allows; ``bounded`` allows what the
record can still count for the whole fleet, and refuses when the record is gone too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from api.domain import keys
from api.domain.catalog import Feature, OutageMode
from api.domain.decision import Decision, allow
from api.domain.entitlements import Entitlement
from api.domain.errors import IdempotencyConflict, Unavailable
from api.gates.outcome import Consumption, ConsumptionId, Denied
from api.infra.redis import NotSent, OutcomeUnknown, RedisDoor
from api.metering.blind import Blind, BlindItem, Passed
from api.metering.counters import Operation, figures
from api.metering.hydration import Hydration
from api.metering.journal import instant

log = logging.getLogger(__name__)


class Holders(Protocol):
    """What the catalog's side knows of a customer without the counters."""

    async def entitled(self, customer: str, at: datetime) -> tuple[int, Mapping[str, Entitlement]]:
        """Return the customer's number and entitlements. Raises: UnknownCustomer, Unavailable."""
        ...

    async def keys_of(self, customer_ids: Sequence[int]) -> Mapping[int, str]:
        """Return the keys of these customers."""
        ...


class Outage:
    """Degraded answers, and their settling once the counters are back."""

    def __init__(
        self, blind: Blind, hydration: Hydration, holders: Holders, door: RedisDoor
    ) -> None:
        self._door = door
        self._settling = asyncio.Lock()
        # Shards of which units passed blind here that the counters may not know yet.
        self._owed: set[int] = set()
        # Those of them where units passed since the settling began.
        self._owed_again: set[int] = set()
        self._blind = blind
        self._hydration = hydration
        self._holders = holders

    @property
    def owed(self) -> bool:
        """Whether anything passed blind here that the counters may not know yet."""
        return bool(self._owed)

    async def consume(
        self,
        operation: Operation,
        asked: Sequence[tuple[Feature, int]],
        at_ms: int,
        lost: Unavailable,
    ) -> tuple[Consumption, ...] | Denied:
        """Answer a consumption that could not be judged.

        Raises: Unavailable where a feature's policy refuses; IdempotencyConflict.
        Cost: one transaction of the record.
        """
        if any(feature.outage.mode is OutageMode.CLOSED for feature, _ in asked):
            raise Unavailable(lost.message)
        bounded = any(feature.outage.mode is OutageMode.BOUNDED for feature, _ in asked)
        at = instant(at_ms)
        try:
            passed = await self._record(operation, asked, at)
            shard = keys.shard_of(operation.customer)
            self._owed.add(shard)
            self._owed_again.add(shard)
        except Refused:
            raise
        except Unavailable:
            if bounded:
                raise
            log.warning("units passed unrecorded: counters and record are both out of reach")
            passed = Passed(at)
        return tuple(
            Consumption(
                ConsumptionId(
                    int(passed.at.timestamp() * 1000), place, operation.operation_id
                ).encode(),
                operation.customer,
                feature.key,
                units,
                figures(passed.rows[place]) if passed.rows else (),
                replayed=passed.replayed,
                degraded=True,
            )
            for place, (feature, units) in enumerate(asked)
        )

    async def check(self, customer: str, feature: Feature, units: int, at_ms: int) -> Decision:
        """Answer a check that could not be judged. Raises: Unavailable."""
        if feature.outage.mode is OutageMode.CLOSED:
            raise Unavailable("the counters cannot be reached")
        try:
            _, entitlements = await self._holders.entitled(customer, instant(at_ms))
        except Unavailable:
            if feature.outage.mode is OutageMode.BOUNDED:
                raise
        else:
            _expect_granted(entitlements, feature)
        return allow(customer, feature.key, units, (), degraded=True)

    async def catch_up(self, customer: str) -> None:
        """Settle what passed blind here before the counters judge again, if they are back.

        A named call that passed blind is then known to them, and its retry counts nothing.
        """
        shard = keys.shard_of(customer)
        if shard in self._owed:
            async with self._settling:
                await self._pay(shard)

    async def _pay(self, shard: int) -> None:
        if shard not in self._owed:
            return
        owed = set(self._owed)
        self._owed_again.clear()
        left: set[int] = set()
        try:
            # Before the record is asked: while the shard's server is away, nothing can be paid.
            await self._door.standing_epoch(shard)
            await self.settle()
        except Unsettled as unsettled:
            left = unsettled.shards
        except Unavailable:
            return
        self._owed -= owed - left - self._owed_again

    async def settle(self) -> int:
        """Put what passed blind into record and counters, once; return how many customers.

        Raises: Unavailable; what was done by then stays done. Unsettled, where the counters of
        some shards are out of reach; the others are settled.
        """
        await self._door.epochs()
        left: set[int] = set()
        settled, last = 0, 0
        while customers := await self._blind.unsettled(last):
            names = await self._holders.keys_of(customers)
            for customer_id in customers:
                shard = keys.shard_of(names[customer_id])
                if shard in left:
                    continue
                try:
                    # One that was lost by now is not waited for again.
                    self._door.epoch(shard)
                    await self._settle(customer_id, names[customer_id])
                except (NotSent, OutcomeUnknown):
                    left.add(shard)
                else:
                    settled += 1
            # On to the end: customers that cannot be paid now keep back none behind them.
            last = customers[-1]
        if left:
            raise Unsettled(left)
        return settled

    async def _settle(self, customer_id: int, name: str) -> None:
        # A name that was counted just before the cut may still be in the journal.
        await self._hydration.complete(name)
        recorded = await self._blind.record(customer_id)
        await self._hydration.forget(name)
        await self._blind.settled(customer_id, recorded)

    async def _record(
        self, operation: Operation, asked: Sequence[tuple[Feature, int]], at: datetime
    ) -> Passed:
        customer_id, entitlements = await self._holders.entitled(operation.customer, at)
        for feature, _ in asked:
            _expect_granted(entitlements, feature)
        items = [
            BlindItem(
                feature_id,
                units,
                feature.outage.units if feature.outage.mode is OutageMode.BOUNDED else None,
            )
            for (feature, _), (feature_id, units) in zip(asked, operation.items, strict=True)
        ]
        expires_at = None
        if operation.fingerprint:
            expires_at = at + timedelta(milliseconds=operation.record_ms)
        outcome = await self._blind.admit(
            customer_id, operation.operation_id, items, at, operation.fingerprint, expires_at
        )
        if outcome is None:
            raise Refused(
                "the counters cannot be reached, and the units allowed meanwhile are used"
            )
        if isinstance(outcome, str):
            raise IdempotencyConflict(
                f"idempotencyKey {operation.operation_id!r} was used with other contents"
            )
        return outcome


class Unsettled(Unavailable):
    """The counters of these shards are out of reach, and units that passed blind wait for them."""

    def __init__(self, shards: set[int]) -> None:
        super().__init__(f"{len(shards)} shards of the counters are out of reach")
        self.shards = shards


class Refused(Unavailable):
    """A policy that allows does not reach this far: not granted, or its bound is reached."""


def _expect_granted(entitlements: Mapping[str, Entitlement], feature: Feature) -> None:
    entitlement = entitlements.get(feature.key)
    if entitlement is None or not entitlement.granted:
        raise Refused(f"the counters cannot be reached, and {feature.key} is not granted")
