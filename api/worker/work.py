"""Everything the worker does, each in a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from api.billing.catch_up import CatchUp
from api.billing.inbox import CHANNEL
from api.billing.operations import Operations
from api.billing.payments import owed_turn
from api.billing.watch import Watch
from api.billing.worker import InboxWorker
from api.infra.queries import Queries
from api.infra.telemetry import gauge
from api.ledger.expiry import expiry_turn
from api.ledger.voiding import voided_turn
from api.wiring import Core
from api.worker.comparing import Comparing
from api.worker.loops import keep
from api.worker.retention import Retention
from api.worker.sweep import DriftSweep
from api.worker.turns import Turn, take_turns

_usage = Queries.load("usage")

PUBLISH_SECONDS = 0.5
SETTLE_SECONDS = 1.0
RECONNECT_SECONDS = 0.05
WALK_SECONDS = 2.0
WEBHOOK_SECONDS = 1.0
CATCH_UP_SECONDS = 15.0
WATCH_SECONDS = 15.0
TURNS_SECONDS = 5.0
PASSES_SECONDS = 60.0
FINDINGS_SECONDS = 30.0
HOLDS_SECONDS = 1.0
OPERATIONS_SECONDS = 1.0
WORTH_A_PASS, GATHER_SECONDS = 500, 0.05
"""Entries come together for so long after a pass that had fewer: one that is read and cut among
sixty costs the counter store five times what it does among a thousand. Who waits for an entry
drains its shard at once."""

PARTITIONS_EVERY = timedelta(hours=6)
RETENTION_EVERY = timedelta(hours=1)
SWEEP_EVERY = timedelta(seconds=30)
EXPIRY_EVERY = timedelta(seconds=60)
TAKEN_BACK_EVERY = timedelta(seconds=5)

_BLIND = gauge("blind_unsettled", "Operations that passed blind and wait for their settling")


class Worker:
    """The loops of one process; several processes share the work between them."""

    def __init__(
        self,
        core: Core,
        inbox: InboxWorker,
        comparing: Comparing | None = None,
        catch_up: CatchUp | None = None,
        watch: Watch | None = None,
        operations: Operations | None = None,
    ) -> None:
        self._core = core
        self._inbox = inbox
        sweep = DriftSweep(core)
        self._retention = Retention(core.database, core.partitions, core.settings)
        self._catch_up = catch_up
        self._watch = watch
        self._operations = operations
        self._settled_under = -1
        self._settle_at = 0.0
        self._comparing = comparing
        self._passes = () if comparing is None else comparing.turns()
        self._turns = (
            Turn("partitions", PARTITIONS_EVERY, self._partitions_ahead),
            Turn("retention", RETENTION_EVERY, self._forget),
            Turn("drift", SWEEP_EVERY, sweep.turn),
            Turn("credit expiry", EXPIRY_EVERY, partial(expiry_turn, core.database)),
            Turn("refunded packs", TAKEN_BACK_EVERY, partial(owed_turn, core.database)),
            Turn("voided grants", TAKEN_BACK_EVERY, partial(voided_turn, core.database)),
        )

    async def run(self, began: Callable[[], None], stop: asyncio.Event) -> None:
        """Work until ``stop``; a piece of work that was begun may be cut off, and is repeated."""
        core = self._core
        turns = partial(take_turns, core.database, core.clock, self._turns)
        told = asyncio.Event()
        loops = [
            keep("drain", self._drain, idle_seconds=0),
            keep(
                "webhooks",
                partial(self._webhooks, told.set),
                idle_seconds=WEBHOOK_SECONDS,
                woken=told,
            ),
            keep("publish", self._publish, idle_seconds=PUBLISH_SECONDS),
            keep("walk", self._walk, idle_seconds=WALK_SECONDS),
            keep("settle", self._settle, idle_seconds=RECONNECT_SECONDS),
            keep("holds", self._end_holds, idle_seconds=HOLDS_SECONDS),
            keep("turns", turns, idle_seconds=TURNS_SECONDS),
        ]
        if self._catch_up is not None:
            # At the start as well: whatever came while nobody listened is fetched.
            loops.append(keep("catch-up", self._missed, idle_seconds=CATCH_UP_SECONDS))
        if self._operations is not None:
            loops.append(keep("operations", self._ask_again, idle_seconds=OPERATIONS_SECONDS))
        if self._watch is not None:
            loops.append(keep("watch", self._look, idle_seconds=WATCH_SECONDS))
        if self._comparing is not None:
            # Loops of their own: a pass over everything may take minutes.
            passes = partial(take_turns, core.database, core.clock, self._passes)
            loops.append(keep("reconciliation", passes, idle_seconds=PASSES_SECONDS))
            loops.append(keep("findings", self._findings, idle_seconds=FINDINGS_SECONDS))
        async with core.database.listen(CHANNEL, lambda _: told.set()):
            tasks = [asyncio.create_task(loop) for loop in loops]
            stopping = asyncio.create_task(stop.wait())
            began()
            try:
                ended, _ = await asyncio.wait(
                    {stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    task.result()
            finally:
                for task in (stopping, *tasks):
                    task.cancel()
                await asyncio.gather(stopping, *tasks, return_exceptions=True)
                await self._inbox.stop()

    async def _drain(self) -> int:
        recorded = await self._core.drainer.follow()
        if 0 < recorded < WORTH_A_PASS:
            await asyncio.sleep(GATHER_SECONDS)
        return recorded

    async def _webhooks(self, more: Callable[[], None]) -> int:
        return await self._inbox.begin(self._core.clock.now(), more)

    async def _findings(self) -> int:
        if self._comparing is None:
            return 0
        return await self._comparing.queue.run_once(self._core.clock.now())

    async def _missed(self) -> int:
        return 0 if self._catch_up is None else await self._catch_up.turn(self._core.clock.now())

    async def _look(self) -> int:
        return 0 if self._watch is None else await self._watch.turn(self._core.clock.now())

    async def _ask_again(self) -> int:
        if self._operations is None:
            return 0
        return await self._operations.run_once(self._core.clock.now())

    async def _publish(self) -> int:
        return await self._core.changes.publish_pending(self._core.clock.now())

    async def _walk(self) -> int:
        # Usually done by whoever applied the catalog; this takes up one that died on the way.
        return await self._core.changes.walk(self._core.clock.now())

    async def _settle(self) -> int:
        """Settle what passed blind: at once when the counters are back, and now and then.

        Until then the counters do not know those units, and could give them away once more.
        """
        generation, now = self._core.door.generation, asyncio.get_running_loop().time()
        if generation == self._settled_under and now < self._settle_at:
            return 0
        settled = await self._core.outage.settle()
        self._settled_under, self._settle_at = generation, now + SETTLE_SECONDS
        _BLIND.set(await self._core.database.fetchval(_usage.drain_lag))
        return settled

    async def _end_holds(self) -> int:
        """End holds past their time and pending units past their deadline, and tell the counters.

        What a serving process is about to tell by itself may be told here as well; once or twice
        comes to the same.
        """
        at = self._core.clock.now()
        ended = await self._core.holding.expire(at)
        voided = await self._core.deadlines.turn(at)
        return ended + voided + await self._core.holding.tell_again()

    async def _partitions_ahead(self, at: datetime, position: int) -> int:
        ahead = [at + timedelta(days=days) for days in (0, 32, 64)]
        await self._core.partitions.ensure(ahead)
        return position

    async def _forget(self, at: datetime, position: int) -> int:
        await self._retention.forget(at)
        return position
