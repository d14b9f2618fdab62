"""From the journal to the record, exactly once.

Whoever needs a shard's journal in the record drains it: the worker all of them all the time, a
caller that waits for one. In one transaction the shard's position is locked, entries past it are
recorded, and the position moves with them; only then are they cut from the journal. A process
that dies anywhere leaves entries to be read again, and the record leaves out what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from api.domain import keys
from api.domain.errors import Unavailable
from api.infra.lua import Script
from api.infra.postgres import Connection, Database
from api.infra.queries import Queries
from api.infra.redis import PATIENCE_SECONDS, NotSent, RedisDoor, outcomes
from api.metering.journal import ORIGIN, Entry, EntryId, entry_id, read, render
from api.metering.partitions import Partitions
from api.metering.recording import write

_sql = Queries.load("usage")

CUT = Script.load(__file__, "cut")

ENTRIES_A_PASS = 2_000
"""Keeps one transaction short, for callers that wait for the next."""
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.25
"""Between two looks at journals that had nothing: longer as long as nothing is there."""
Rows = Sequence[Sequence[Any]]


class CountersReplaced(Unavailable):
    """What the counters said was said by another store, or before they lost it; ask them again."""


class Drainer:
    """Drains shards on demand; callers of the moment share a pass."""

    def __init__(self, database: Database, door: RedisDoor, partitions: Partitions) -> None:
        self._database = database
        self._door = door
        self._partitions = partitions
        self._reached: dict[tuple[int, int], EntryId] = {}
        # Places that are recorded further than their journals may be cut.
        self._uncut: set[tuple[int, int]] = set()
        self._asked: dict[int, list[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._renewing: dict[int, asyncio.Task[None]] = {}
        self._pause = SHORTEST_PAUSE_SECONDS
        self.recorded = 0
        """Operations recorded by this process."""

    async def reach(self, shard: int, epoch: int, until: EntryId) -> None:
        """Wait until the shard's journal is in the record up to and with ``until``.

        Raises: Unavailable when the record or the journal cannot be reached; CountersReplaced when
        the epoch ended meanwhile, so that the entry may be lost, or the connection was made anew.
        """
        # Also where the record is past it: another server's entry may bear an earlier id.
        self._expect_standing(shard, epoch)
        while self._reached.get((shard, epoch), ORIGIN) < until:
            await self._joined(shard)
            if self._reached.get((shard, epoch), ORIGIN) < until:
                await self._expect_entry(shard, epoch, until)
                if (renewing := self._renewing.get(shard)) is not None:
                    await asyncio.wait({renewing})
                self._expect_standing(shard, epoch)

    async def pass_barrier(self, shard: int) -> None:
        """Wait until the record holds all that the shard's journal holds now.

        Raises and costs as ``reach``, and one entry of the journal.
        """
        epoch = await self._door.standing_epoch(shard)
        mark = await self._door.command("XADD", keys.journal(shard), "*", "b", "")
        await self.reach(shard, epoch, entry_id(mark))

    def _expect_standing(self, shard: int, epoch: int) -> None:
        if self._door.epoch(shard) != epoch:
            raise CountersReplaced("the counter store was replaced; ask again")

    async def _expect_entry(self, shard: int, epoch: int, until: EntryId) -> None:
        """Refuse to wait for an entry that neither the journal nor the record has.

        A journal that lost it is not to be believed in anything else: its epoch ends.
        """
        entry = render(until)
        if await self._door.command("XRANGE", keys.journal(shard), entry, entry):
            return
        await self._look_up({shard: epoch})
        if self._reached[shard, epoch] < until and self._door.epoch(shard) == epoch:
            await self._door.renew_epoch(shard)

    async def drain(self, shards: Iterable[int]) -> int:
        """Drain what the journals of ``shards`` hold now, at most one pass; return operations.

        Cost: one journey to each server, and one read per shard, travelling together; one
        transaction if anything was there, and one statement if some journal was empty.
        Raises: Unavailable, when all that could be drained was; CountersReplaced when a server
        was replaced meanwhile.
        """
        await self._door.epochs()
        operations, failed = await self._drain(shards)
        for error in failed.values():
            raise error
        return operations

    async def follow(self, *, wait_ms: int = 1_000) -> int:
        """Wait until any shard's journal has entries and drain them; return operations.

        Of a cluster the servers that can be reached are drained. Raises: Unavailable if none can.
        Cost: one blocking read over all shards, one read of each that has entries, or of all where
        none is said to have, and one transaction. A cluster has no blocking read over all: there
        every journal is looked at, at least every 0.25 s.
        """
        epochs = await self._door.epochs()
        await self._resume(epochs)
        named = await self._hinted(epochs, wait_ms) if self._door.blocks else tuple(epochs)
        found, _ = await self._read({s: epochs[s] for s in named or epochs})
        if not found:
            if named:
                await asyncio.sleep(self._pause)
                self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
            return 0
        self._pause = SHORTEST_PAUSE_SECONDS
        return await self.record({s: epochs[s] for s in found}, found)

    async def _drain(self, shards: Iterable[int]) -> tuple[int, dict[int, Unavailable]]:
        """Drain; return operations, and what kept the shards that were not drained."""
        epochs: dict[int, int] = {}
        failed: dict[int, Unavailable] = {}
        for shard in shards:
            try:
                epochs[shard] = self._door.epoch(shard)
            except NotSent as error:
                failed[shard] = error
        await self._resume(epochs)
        found, unread = await self._read(epochs)
        # Where nothing is left another process may have recorded it and cut it; the record knows.
        empty = {s: e for s, e in epochs.items() if s not in found and s not in unread}
        await self._look_up(empty)
        operations = await self.record({s: epochs[s] for s in found}, found) if found else 0
        return operations, failed | unread

    async def _read(
        self, epochs: Mapping[int, int]
    ) -> tuple[dict[int, Rows], dict[int, Unavailable]]:
        """Read on in these shards' journals; return what was there, and what kept the others."""
        share = max(1, ENTRIES_A_PASS // max(1, len(epochs)))
        count = max(share, ENTRIES_A_PASS // 8)
        looks = (
            self._door.command(
                "XRANGE",
                keys.journal(shard),
                f"({render(self._reached[shard, epoch])}",
                "+",
                "COUNT",
                count,
            )
            for shard, epoch in epochs.items()
        )
        replies = await outcomes(looks, patience_seconds=PATIENCE_SECONDS)
        found: dict[int, Rows] = {}
        failed: dict[int, Unavailable] = {}
        for shard, reply in zip(epochs, replies, strict=True):
            if isinstance(reply, Unavailable):
                failed[shard] = reply
            elif isinstance(reply, BaseException):
                raise reply
            elif not self._stands(shard, epochs[shard]):
                failed[shard] = CountersReplaced("the counter store was replaced; ask again")
            elif reply:
                found[shard] = reply
        return found, failed

    async def _hinted(self, epochs: Mapping[int, int], wait_ms: int) -> Collection[int]:
        """Wait for entries; return the shards that are said to have some, none after that time.

        No more than a hint: the connection that waits never asks whom it reaches, and one address
        may lead to two servers for a while. What counts is read over the door's own connection.
        """
        reply = await self._door.blocking(
            "XREAD",
            "COUNT",
            1,
            "BLOCK",
            wait_ms,
            "STREAMS",
            *(keys.journal(shard) for shard in epochs),
            *(render(self._reached[shard, epoch]) for shard, epoch in epochs.items()),
            timeout_seconds=wait_ms / 1000 + 5,
        )
        return [_shard_of_journal(name) for name, _ in reply or ()]

    def _stands(self, shard: int, epoch: int) -> bool:
        """Tell whether the shard is still on the server of this epoch: each belongs to one."""
        try:
            return self._door.epoch(shard) == epoch
        except NotSent:
            return False

    async def record(self, epochs: Mapping[int, int], found: Mapping[int, Rows]) -> int:
        """Record the rows that were read from these shards' journals, and cut them there."""
        entries: dict[int, list[Entry]] = {}
        lasts: dict[int, EntryId] = {}
        for shard, rows in found.items():
            entries[shard], lasts[shard] = read(rows)
        await self._partitions.ensure({e.at for e in chain.from_iterable(entries.values())})
        async with self._database.transaction() as conn:
            shards = await _fenced(conn, {shard: epochs[shard] for shard in sorted(found)})
            of_shards = (shards, [epochs[shard] for shard in shards])
            await conn.execute(_sql.make_positions, *of_shards)
            claimed = await conn.fetch(_sql.claim_positions, *of_shards)
            before = {r["shard"]: (r["entry_ms"], r["entry_seq"]) for r in claimed}
            fresh = [e for s in shards for e in entries[s] if e.id > before.get(s, ORIGIN)]
            await write(conn, fresh)
            moved = {s: max(lasts[s], before.get(s, ORIGIN)) for s in shards}
            await conn.execute(
                _sql.move_positions,
                *of_shards,
                [moved[s][0] for s in shards],
                [moved[s][1] for s in shards],
            )
        for shard in shards:
            self._reached[shard, epochs[shard]] = moved[shard]
        self.recorded += len(fresh)
        await self._cut(epochs, moved)
        for shard in found.keys() - moved.keys():
            self._renew_soon(shard, epochs[shard])
        return len(fresh)

    def _renew_soon(self, shard: int, epoch: int) -> None:
        """Renew an epoch that has ended, unless somebody did; the other shards do not wait."""
        if shard in self._renewing or not self._stands(shard, epoch):
            return
        task = asyncio.create_task(self._renew(shard), name="drain-renew")
        self._renewing[shard] = task
        task.add_done_callback(lambda _: self._renewing.pop(shard))

    async def _renew(self, shard: int) -> None:
        # Where it fails, the next pass that finds the epoch ended tries again.
        with suppress(Unavailable):
            await self._door.renew_epoch(shard)

    async def _joined(self, shard: int) -> None:
        """Wait for a pass over ``shard`` that begins after now."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(shard, []).append(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._serve(), name="drain-on-demand")
        await waiter

    async def _serve(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            waiters = [w for each in asked.values() for w in each]
            try:
                _, failed = await self._drain(asked)
            except Unavailable as error:
                _release(waiters, error)
            except BaseException as error:
                _release(waiters, Unavailable("the drain was interrupted"))
                _release([w for each in self._asked.values() for w in each], None)
                self._asked = {}
                raise error from None
            else:
                for shard, waiting in asked.items():
                    _release(waiting, failed.get(shard))

    async def _resume(self, epochs: Mapping[int, int]) -> None:
        """Know how far these journals are recorded, and cut what an earlier pass did not.

        A process that is killed between its commit and its cut leaves entries that no later pass
        reads; where nothing new came they would seem to wait for a drainer.
        """
        unknown = {s: e for s, e in epochs.items() if (s, e) not in self._reached}
        await self._look_up(unknown)
        self._uncut.update(p for p in unknown.items() if self._reached[p] > ORIGIN)
        late = {s: self._reached[s, e] for s, e in epochs.items() if (s, e) in self._uncut}
        await self._cut(epochs, late)

    async def _look_up(self, unknown: Mapping[int, int]) -> None:
        if not unknown:
            return
        rows = await self._database.fetch(_sql.positions, list(unknown), list(unknown.values()))
        for shard, epoch in unknown.items():
            self._reached.setdefault((shard, epoch), ORIGIN)
        for row in rows:
            position = (row["entry_ms"], row["entry_seq"])
            place = (row["shard"], unknown[row["shard"]])
            self._reached[place] = max(self._reached[place], position)

    async def _cut(self, epochs: Mapping[int, int], moved: Mapping[int, EntryId]) -> None:
        """Cut what is recorded; where this fails, the next pass over the shard cuts it."""
        cuts = (
            self._door.call(CUT, s, (keys.journal(s),), (epochs[s], render((ms, seq + 1))))
            for s, (ms, seq) in moved.items()
        )
        replies = await outcomes(cuts, patience_seconds=PATIENCE_SECONDS)
        for shard, reply in zip(moved, replies, strict=True):
            if isinstance(reply, Unavailable):
                self._uncut.add((shard, epochs[shard]))
            elif isinstance(reply, BaseException):
                raise reply
            else:
                # Under another epoch all that is there is read again.
                self._uncut.discard((shard, epochs[shard]))


async def _fenced(conn: Connection, epochs: Mapping[int, int]) -> list[int]:
    """Return the shards whose epoch still stands, and keep it standing until the commit.

    What was read of the others may be lost to the counters: a filling may have begun that does
    not wait for it. Where it survived, it is read again under the new epoch.
    """
    rows = await conn.fetch(_sql.fence, list(epochs), list(epochs.values()))
    return [row["shard"] for row in rows]


def _release(waiters: Iterable[asyncio.Future[None]], error: Unavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _shard_of_journal(name: bytes) -> int:
    return int(name[1 : name.index(b"}")])
