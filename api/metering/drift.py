"""Whether the counters say what the record says, and putting them right where they do not.

Both are compared at one point of the journal: the counters are read, a barrier follows, the
drainer passes it, the record is read, and the counters are read again. Only if they did not change
meanwhile do the two speak of the same operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.domain import keys
from api.domain.catalog import WindowKind
from api.domain.snapshot import Snapshot
from api.infra.packing import side_by_side
from api.infra.postgres import Database
from api.infra.redis import RedisDoor
from api.metering.drainer import Drainer
from api.metering.hydration import Hydration, Slot, slots_of, used_in
from api.metering.journal import entry_id

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Drift:
    """One counter that differs from the record."""

    feature_id: int
    window: WindowKind
    counted: int
    recorded: int


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter as stored: the second at which its window ends (0: never), and its units."""

    end_s: int
    used: int


class DriftCheck:
    """Compares one customer's counters with the record."""

    def __init__(
        self, database: Database, door: RedisDoor, drainer: Drainer, hydration: Hydration
    ) -> None:
        self._database = database
        self._door = door
        self._drainer = drainer
        self._hydration = hydration

    async def compare(
        self, customer: str, snapshot: Snapshot, at: datetime
    ) -> tuple[Drift, ...] | None:
        """Return the counters that differ; None when this cannot be told now.

        That is while the customer is too busy, or judged by another version than ``snapshot``.

        Counters that are unknown do not differ. Raises: Unavailable.
        Cost: two reads of one hash, one drain, one read of the record.
        """
        shard = keys.shard_of(customer)
        for _ in range(ROUNDS):
            epoch = await self._door.standing_epoch(shard)
            if await self._version(customer) != snapshot.version:
                # Its rights are being published; the counters belong to other limits until then.
                return None
            before = await self.counters(customer)
            mark = await self._door.command("XADD", keys.journal(shard), "*", "b", "compare")
            await self._drainer.reach(shard, epoch, entry_id(mark))
            async with self._database.transaction(
                isolation="repeatable_read", readonly=True
            ) as conn:
                recorded = await used_in(conn, snapshot.customer_id, slots_of(snapshot, at))
            if await self.counters(customer) == before:
                return tuple(_differences(before, recorded))
        return None

    async def _version(self, customer: str) -> int | None:
        """Return the version of the snapshot by which the customer is judged, None if unknown."""
        about = await self._door.command(
            "HGET", keys.snapshot(keys.shard_of(customer), customer), "m"
        )
        return None if about is None else int(side_by_side(about)[1])

    async def repair(self, customer: str) -> None:
        """Have the counters filled from the record before the next decision."""
        await self._hydration.forget(customer)

    async def counters(self, customer: str) -> dict[str, Counter]:
        """Read the counters that are known, by the name of their slot."""
        shard = keys.shard_of(customer)
        flat = await self._door.command("HGETALL", keys.counters(shard, customer))
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if fields.pop(b"_", b"") != str(self._door.epoch(shard)).encode():
            return {}
        found: dict[str, Counter] = {}
        for field, value in fields.items():
            if not field[:1].isdigit():
                continue  # a hold, whose units are in the counters, or the filling's name
            # Values side by side; read as the array that they would be.
            end_s, used, *_ = side_by_side(value)
            found[field.decode()] = Counter(int(end_s), int(used))
        return found


def _differences(counted: dict[str, Counter], recorded: list[tuple[Slot, int]]) -> list[Drift]:
    found = []
    for slot, units in recorded:
        counter = counted.get(slot.name)
        if counter is None:
            continue
        ended = slot.since is not None and counter.end_s <= int(slot.since.timestamp())
        used = 0 if ended else counter.used
        if used != units:
            kind = WindowKind.from_code(slot.window)
            found.append(Drift(slot.feature_id, kind, used, units))
    return found
