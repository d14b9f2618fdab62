"""What an operator may do about one customer's usage: look closely, take back, count anew.

Nothing is edited: a reset is recorded as units that were given back, and counters are never
written, only forgotten, so that the next decision fills them from the record.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api.catalog import audit
from api.catalog.changes import Changes
from api.catalog.holders import Holders
from api.catalog.revisions import Revisions
from api.catalog.text import require_reason
from api.domain import keys
from api.domain.admission import COUNTED_KINDS
from api.domain.catalog import FeatureKind, WindowKind
from api.domain.decision import WindowFigure
from api.domain.errors import InvalidInput
from api.domain.windows import FIXED_SECONDS
from api.gates.consume import Gate
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.redis import RedisDoor
from api.infra.telemetry import correlation_id
from api.metering.drainer import Drainer
from api.metering.drift import DriftCheck
from api.metering.hydration import Hydration, Slot, slots_of, used_in
from api.metering.usage import floor_hour

_sql = Queries.load("usage")

_QUARTER_SECONDS = 900

Figures = Mapping[str, tuple[WindowFigure, ...] | None]
"""Windows by feature; None where it is not granted."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """The figures before and after; ``units`` are those that a reset took back."""

    customer: str
    before: Figures
    after: Figures
    units: int = 0


@dataclass(frozen=True, slots=True)
class CounterExplained:
    """One counter: what the gate says of its window, and what stands in both stores.

    ``counted`` None: the counter is unknown, and is filled from the record when it is needed.
    """

    figure: WindowFigure
    counted: int | None
    recorded: int

    @property
    def drifted(self) -> bool:
        """Whether the stores do not agree."""
        return self.counted is not None and self.counted != self.recorded


@dataclass(frozen=True, slots=True)
class UsageExplained:
    """Where one customer's figures come from.

    ``waiting`` operations of its shard, of all customers there, are not in the record yet.
    ``settled`` is False where the customer was too busy for the stores to be compared exactly.
    """

    customer: str
    shard: int
    epoch: int
    waiting: int
    settled: bool
    features: Mapping[str, tuple[CounterExplained, ...]]


class Repair:
    """Operations on one customer's usage. Every method may raise ``Unavailable``."""

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        *,
        database: Database,
        door: RedisDoor,
        revisions: Revisions,
        holders: Holders,
        changes: Changes,
        drainer: Drainer,
        hydration: Hydration,
        drift: DriftCheck,
        gate: Gate,
    ) -> None:
        self._database = database
        self._door = door
        self._revisions = revisions
        self._holders = holders
        self._changes = changes
        self._drainer = drainer
        self._hydration = hydration
        self._drift = drift
        self._gate = gate

    async def usage_reset(
        self,
        customer: str,
        feature: str,
        window: WindowKind | None,
        *,
        actor: str,
        reason: str,
        at: datetime,
    ) -> Repaired:
        """Give back whatever was used of a feature in its present window; None: in all of them.

        What is given back of a longer window is missing from the shorter ones in it, and the
        other way round: a unit is used once, and given back once.
        Raises: UnknownCustomer, UnknownFeature, InvalidInput.
        Cost: a drain of the customer's shard and one transaction.
        """
        why = require_reason(reason)
        customer_id = await self._holders.number(customer)
        before = await self._gate.figures(customer, [feature], _ms(at))
        since, bounds = await self._reset_since(customer, feature, window, at)
        await self._drainer.pass_barrier(keys.shard_of(customer))
        feature_id = self._revisions.newest.feature_ids[feature]
        async with self._database.transaction() as conn:
            await conn.execute(_sql.lock_customer_usage, customer_id)
            groups = await conn.fetch(
                _sql.counted_groups, customer_id, feature_id, since, floor_hour(at), bounds
            )
            units = sum(int(row["units"]) for row in groups)
            operation_id = f"~reset:{secrets.token_urlsafe(12)}"
            await conn.fetchval(
                _sql.record_events,
                [customer_id for _ in groups],
                [operation_id for _ in groups],
                # Each group has an instant of its own.
                [0 for _ in groups],
                [row["at"] for row in groups],
                [feature_id for _ in groups],
                [-int(row["units"]) for row in groups],
                ["reset" for _ in groups],
                [-int(row["charged"]) for row in groups],
            )
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action="usage.reset",
                reason=why,
                customer_id=customer_id,
                detail={
                    "feature": feature,
                    "window": None if window is None else window.value,
                    "since": since.isoformat(),
                    "units": units,
                    "operation": operation_id,
                },
                correlation_id=correlation_id(),
            )
        await self._hydration.forget(customer)
        after = await self._gate.figures(customer, [feature], _ms(at))
        return Repaired(customer, before, after, units)

    async def usage_rebuild(
        self, customer: str, *, actor: str, reason: str, at: datetime
    ) -> Repaired:
        """Have all counters of a customer filled from the record. Raises: UnknownCustomer."""
        why = require_reason(reason)
        customer_id = await self._holders.number(customer)
        features = self._counted()
        before = await self._gate.figures(customer, features, _ms(at))
        await self._hydration.forget(customer)
        after = await self._gate.figures(customer, features, _ms(at))
        await self._note("usage.rebuild", customer_id, actor, why, at)
        return Repaired(customer, before, after)

    async def entitlements_rebuild(
        self, customer: str, *, actor: str, reason: str, at: datetime
    ) -> Repaired:
        """Derive a customer's rights from the record again, and have the gate know them.

        Raises: UnknownCustomer.
        """
        why = require_reason(reason)
        customer_id = await self._holders.number(customer)
        features = self._counted()
        before = await self._gate.figures(customer, features, _ms(at))
        await self._changes.publish(customer_id, at, anew=True)
        after = await self._gate.figures(customer, features, _ms(at))
        await self._note("entitlements.rebuild", customer_id, actor, why, at)
        return Repaired(customer, before, after)

    async def usage_explain(
        self, customer: str, feature: str | None, at: datetime
    ) -> UsageExplained:
        """Say what each counter of a customer rests on, of one feature or (None) of all.

        Raises: UnknownCustomer, UnknownFeature.
        Cost: a drain of the customer's shard, and a read of both stores.
        """
        shard = keys.shard_of(customer)
        waiting = int(await self._door.command("XLEN", keys.journal(shard)))
        features = self._counted() if feature is None else [(await self._gate.feature(feature)).key]
        figures = await self._gate.figures(customer, features, _ms(at))
        snapshot = await self._holders.snapshot(customer, at)
        drifts = await self._drift.compare(customer, snapshot, at)
        counters = await self._drift.counters(customer)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as conn:
            recorded = await used_in(conn, snapshot.customer_id, slots_of(snapshot, at))
        units = {(slot.feature_id, slot.window): (slot, used) for slot, used in recorded}
        ids = self._revisions.newest.feature_ids
        explained: dict[str, tuple[CounterExplained, ...]] = {}
        for key, windows in figures.items():
            found = []
            for figure in windows or ():
                slot, used = units.get((ids[key], figure.window.code), (None, figure.used))
                counter = None if slot is None else counters.get(slot.name)
                counted = None if counter is None else counter.used
                if slot is not None and counter is not None and _ended(slot, counter.end_s):
                    counted = 0
                found.append(CounterExplained(figure, counted, used))
            explained[key] = tuple(found)
        epoch = self._door.epoch(shard)
        return UsageExplained(customer, shard, epoch, waiting, drifts is not None, explained)

    async def _reset_since(
        self, customer: str, feature: str, window: WindowKind | None, at: datetime
    ) -> tuple[datetime, list[datetime]]:
        """Return the start of what is reset, and from where quarters of an hour are laid."""
        known = await self._gate.feature(feature)
        if known.kind is FeatureKind.ALLOCATION:
            raise InvalidInput(
                f"{feature} is an allocation: it is held, not used up. State how many are in use "
                "now (release what is not held, or state the count)."
            )
        if known.kind is not FeatureKind.METERED:
            raise InvalidInput(f"{feature} is {known.kind.value}: nothing of it is used up.")
        figures = (await self._gate.figures(customer, [feature], _ms(at)))[feature]
        if figures is None:
            raise InvalidInput(f"{feature} is not granted to {customer!r}.")
        starts = [
            datetime.fromtimestamp(figure.starts_at_s, UTC)
            for figure in figures
            if figure.starts_at_s is not None and window in (None, figure.window)
        ]
        if not starts:
            named = "a window that resets" if window is None else f"the window {window.value}"
            raise InvalidInput(
                f"{feature} has no limit over {named} for this customer. What never resets is "
                "raised by an override."
            )
        return min(starts), _bounds(figures)

    async def _note(
        self, action: str, customer_id: int, actor: str, reason: str, at: datetime
    ) -> None:
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor=actor,
                action=action,
                reason=reason,
                customer_id=customer_id,
                correlation_id=correlation_id(),
            )

    def _counted(self) -> Sequence[str]:
        catalog = self._revisions.newest.catalog
        return [key for key, known in catalog.features.items() if known.kind in COUNTED_KINDS]


def _bounds(figures: Sequence[WindowFigure]) -> list[datetime]:
    """Return an instant for each way in which windows lie across the quarters of an hour.

    Windows laid from one anchor all begin at the same time of day; a minute is counted by hour.
    """
    ends = {
        bound % _QUARTER_SECONDS
        for figure in figures
        if figure.window not in FIXED_SECONDS
        for bound in (figure.starts_at_s, figure.resets_at_s)
        if bound is not None
    }
    return [datetime.fromtimestamp(phase, UTC) for phase in sorted(ends | {0})]


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _ended(slot: Slot, end_s: int) -> bool:
    return slot.since is not None and end_s <= int(slot.since.timestamp())
