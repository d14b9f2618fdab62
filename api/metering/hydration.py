"""Filling unknown counters from the record, before the first decision that needs them.

A barrier goes into the customer's journal under a nonce; when the drainer has passed it, the
record is complete, because nothing unknown is admitted meanwhile; what is read then is installed
only where the nonce, the epoch and the snapshot's version are still the same.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from api.domain import keys
from api.domain.errors import Unavailable
from api.domain.snapshot import OVERAGE, Snapshot, slot_name
from api.infra.lua import Script
from api.infra.packing import pack, unpack
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries
from api.infra.redis import RedisDoor
from api.metering.drainer import Drainer
from api.metering.journal import entry_id

_sql = Queries.load("usage")

BARRIER = Script.load(__file__, "barrier")
INSTALL = Script.load(__file__, "install")
FORGET = Script.load(__file__, "forget")

OTHER_EPOCH = 7
_ROUNDS = 2
"""A process that was late to see a new epoch learns of it in the first."""
ANSWERS_A_PASS = 1_000
"""Keeps one script short, for the other customers of the moment."""

Answers = Sequence[tuple[str, list[object]]]
"""Operation ids, and what the counter store keeps of each."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One counter to fill: units of a feature since the start of a window (None: of ever).

    ``mark`` is the third part of its limit: what a plan includes counts without charged units.
    """

    feature_id: int
    window: int
    since: datetime | None
    end_s: int
    mark: int = 0

    @property
    def name(self) -> str:
        """The field in which it is counted."""
        return slot_name(self.feature_id, self.window, self.mark)


class Filling(NamedTuple):
    """What is to be installed: flat (slot, end, units, held ones), and the holds' own fields."""

    counters: list[str | int]
    holds: list[list[object]]


class Hydration:
    """Fills counters; one filling per customer at a time in this process."""

    def __init__(self, database: Database, door: RedisDoor, drainer: Drainer) -> None:
        self._database = database
        self._door = door
        self._drainer = drainer
        self._running: dict[str, asyncio.Future[bool]] = {}

    async def fill(self, customer: str, snapshot: Snapshot, at: datetime) -> bool:
        """Fill what is unknown of ``customer``'s counters; tell whether it was installed.

        False means that something changed meanwhile; whoever asks again begins anew.
        Raises: Unavailable.
        Cost: one drain of the shard's journal, one read of totals, two scripts; one read and one
        script more for every 1,000 answers that are still to be replayed.
        """
        running = self._running.get(customer)
        if running is not None:
            return await asyncio.shield(running)
        task = asyncio.ensure_future(self._fill(customer, snapshot, at))
        self._running[customer] = task
        task.add_done_callback(lambda _: self._running.pop(customer, None))
        return await asyncio.shield(task)

    async def forget(self, customer: str) -> None:
        """Make the counters of ``customer`` unknown after the record was corrected.

        Raises: Unavailable: then they may still be known, and it is to be done again.
        """
        shard = keys.shard_of(customer)
        names = (keys.counters(shard, customer),)
        for _ in range(_ROUNDS):
            if unpack(await self._door.call(FORGET, shard, names, ()))[0] != OTHER_EPOCH:
                return
            # Under a new epoch they are unknown already; under one that somebody else opened they
            # may be known again, as the record was before.
            await self._door.renew_epoch(shard)
        raise Unavailable("the counter store was replaced; its counters are forgotten again")

    async def complete(self, customer: str) -> None:
        """Wait until the record holds all that was counted for ``customer`` so far.

        Raises: Unavailable.
        """
        shard = keys.shard_of(customer)
        epoch = await self._door.standing_epoch(shard)
        mark = await self._door.command("XADD", keys.journal(shard), "*", "b", "complete")
        await self._drainer.reach(shard, epoch, entry_id(mark))

    async def _fill(self, customer: str, snapshot: Snapshot, at: datetime) -> bool:
        nonce = await self.begin(customer)
        if nonce is None:
            return False
        values = await self.read(snapshot, at)
        async for answers in self.answers(snapshot.customer_id, at):
            if not await self.install(customer, snapshot, nonce, None, answers):
                return False
        return await self.install(customer, snapshot, nonce, values, ())

    async def begin(self, customer: str) -> str | None:
        """Wait until the record holds all that was counted; return the nonce to install under.

        None means that the shard's epoch was renewed instead. Raises: Unavailable.
        """
        shard = keys.shard_of(customer)
        epoch = await self._door.standing_epoch(shard)
        names = (keys.counters(shard, customer), keys.journal(shard))
        reply = unpack(await self._door.call(BARRIER, shard, names, (secrets.token_hex(8),)))
        if reply[0] == OTHER_EPOCH:
            await self._door.renew_epoch(shard)
            return None
        await self._drainer.reach(shard, epoch, entry_id(reply[2]))
        return str(reply[1])

    async def read(self, snapshot: Snapshot, at: datetime) -> Filling:
        """Read what the record says was used, and what of it is held."""
        slots = slots_of(snapshot, at)
        # First, so that who ends one of them from now on has the counters know.
        counted = sorted({slot.feature_id for slot in slots})
        await self._database.execute(_sql.count_holds, snapshot.customer_id, counted)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as conn:
            used = await used_in(conn, snapshot.customer_id, slots)
            rows = await conn.fetch(_sql.open_holds, snapshot.customer_id)
        fields = {row["id"]: _hold_field(row) for row in rows}
        counters: list[str | int] = []
        for slot, units in used:
            held = 0
            for row in rows:
                if row["feature_id"] != slot.feature_id or not _within(row["at"], slot):
                    continue
                field = fields[row["id"]]
                included = slot.mark == OVERAGE
                held += field[5] if included else field[4]
                field += [slot.name, slot.end_s, int(included)]
            counters += [slot.name, slot.end_s, units, min(held, units)]
        return Filling(counters, list(fields.values()))

    async def answers(self, customer_id: int, at: datetime) -> AsyncIterator[Answers]:
        """Read every answer that the record still replays, some at a time.

        None is left out, however many there are: its key would count again.
        """
        now_ms = int(at.timestamp() * 1000)
        last = ""
        while True:
            rows = await self._database.fetch(_sql.answers, customer_id, at, last, ANSWERS_A_PASS)
            answers: list[tuple[str, list[object]]] = []
            for row in rows:
                expires_ms = int(row["expires_at"].timestamp() * 1000)
                left_ms = expires_ms - now_ms
                answer = [expires_ms, row["fingerprint"], unpack(row["answer"]), left_ms]
                answers.append((row["operation_id"], answer))
            if answers:
                yield answers
            if len(rows) < ANSWERS_A_PASS:
                return
            last = rows[-1]["operation_id"]

    async def install(
        self,
        customer: str,
        snapshot: Snapshot,
        nonce: str,
        values: Filling | None,
        answers: Answers,
    ) -> bool:
        """Install what was read where it is still unknown under ``nonce``; tell whether it was.

        Counters stay unknown until ``values`` come: None says that more answers follow.
        """
        shard = keys.shard_of(customer)
        names = (
            keys.counters(shard, customer),
            keys.snapshot(shard, customer),
            *(keys.answer(shard, customer, key) for key, _ in answers),
        )
        used = b"" if values is None else pack(values.counters)
        holds = pack([] if values is None else values.holds)
        told = (nonce, snapshot.version, used, pack([answer for _, answer in answers]), holds)
        reply = unpack(await self._door.call(INSTALL, shard, names, told))
        return bool(reply[0] == 1)


def slots_of(snapshot: Snapshot, at: datetime) -> list[Slot]:
    """Return the counters that ``snapshot`` needs, each in the window that contains ``at``."""
    now_s = int(at.timestamp())
    slots = []
    for feature_id, (_, limits) in snapshot.features.items():
        for window, _, mark, bounds, _, _ in limits:
            if not bounds:
                slots.append(Slot(feature_id, window, None, 0, mark))
                continue
            start, stop = _present(bounds, now_s)
            slots.append(Slot(feature_id, window, datetime.fromtimestamp(start, UTC), stop, mark))
    return slots


async def used_in(
    conn: Connection, customer_id: int, slots: Iterable[Slot]
) -> list[tuple[Slot, int]]:
    """Read from the record what was used in each slot's window."""
    slots = list(slots)
    timed = [s for s in slots if s.since is not None]
    rows = await conn.fetch(
        _sql.used_since,
        customer_id,
        list(range(len(timed))),
        [s.feature_id for s in timed],
        [s.since for s in timed],
        [_whole(s.since) for s in timed if s.since is not None],
        [s.mark == OVERAGE for s in timed],
    )
    found = [(timed[row["place"]], int(row["units"])) for row in rows]
    lasting = [s for s in slots if s.since is None]
    if lasting:
        balances = await conn.fetch(_sql.balances, customer_id)
        ever = {row["feature_id"]: (row["units"], row["charged"]) for row in balances}
        for slot in lasting:
            units, charged = ever.get(slot.feature_id, (0, 0))
            found.append((slot, units - charged if slot.mark == OVERAGE else units))
    return [(slot, max(0, units)) for slot, units in found]


def _hold_field(row: Record) -> list[Any]:
    """Return what the counters keep of an open hold, see ``admit.lua``; its slots are to follow."""
    covered = row["units"] - row["charged"]
    held = row["units"] - row["captured"]
    return [
        row["id"],
        row["version"],
        row["units"],
        covered,
        held,
        max(0, covered - row["captured"]),
    ]


def _within(at: datetime, slot: Slot) -> bool:
    return slot.since is None or at >= slot.since


def _present(bounds: list[int], now_s: int) -> tuple[int, int]:
    """Return the window of ``bounds`` that holds that second, as ``admit.lua`` does."""
    if bounds[0] == 0:
        length, offset = bounds[1], bounds[2]
        start = (now_s - offset) // length * length + offset
        return start, start + length
    for before, after in pairwise(bounds):
        if now_s < after:
            return before, after
    raise ValueError("the snapshot's bounds end before the instant")


def _whole(at: datetime) -> datetime:
    """Return the first whole hour at or after ``at``."""
    floor = at.replace(minute=0, second=0, microsecond=0)
    return floor if floor == at else floor + timedelta(hours=1)
