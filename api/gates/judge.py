"""Asking the judge until it knows enough to answer.

The script says what is unknown: the customer's snapshot, its counters, the epoch of its shard.
Each is brought from the record, and the same operation is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from api.domain import keys
from api.domain.admission import Action
from api.domain.errors import InvalidInput, Unavailable
from api.domain.snapshot import Snapshot
from api.infra.redis import NotSent, OutcomeUnknown, RedisDoor
from api.infra.taskless import in_task
from api.metering.counters import Counters, Operation, Reply, Verdict
from api.metering.drainer import CountersReplaced, Drainer
from api.metering.hydration import Hydration
from api.metering.journal import entry_id, instant

MOST_ROUNDS = 8
"""Each round brings one missing thing; more mean that something keeps taking it away."""
RECORD_PAUSE_SECONDS = 1.0
WORTH_A_ROUND_MS = 100
_LACKING = (Verdict.NO_SNAPSHOT, Verdict.NO_COUNTERS, Verdict.OTHER_EPOCH)


class Publishing(Protocol):
    """What the judge needs of the catalog's side."""

    async def publish_key(self, customer: str, at: datetime) -> Snapshot:
        """Publish the snapshot of this customer. Raises: UnknownCustomer, Unavailable."""
        ...


class CountersLost(Unavailable):
    """The counters cannot judge now; the features' outage policy says what to do."""


class Judge:
    """One operation, asked to its answer."""

    def __init__(
        self,
        door: RedisDoor,
        counters: Counters,
        drainer: Drainer,
        hydration: Hydration,
        publishing: Publishing,
        record_answers: Callable[[], Awaitable[None]],
    ) -> None:
        self._door = door
        self._counters = counters
        self._drainer = drainer
        self._hydration = hydration
        self._publishing = publishing
        self._record_answers = record_answers
        self._preparing: dict[str, asyncio.Future[None]] = {}
        self._refreshing: set[asyncio.Task[Snapshot]] = set()
        self._record_lost_until = 0.0
        self.submit = counters.ask
        """Ask once, and leave whatever is answered or goes wrong to the caller.

        ``Counters`` reads the answer; the future raises NotSent or OutcomeUnknown.
        """

    def refresh(self, customer: str, at_ms: int) -> None:
        """Have the customer's snapshot built again in the background, well before it ends."""
        if len(self._refreshing) < MOST_ROUNDS:
            task = asyncio.create_task(self._publishing.publish_key(customer, instant(at_ms)))
            self._refreshing.add(task)
            task.add_done_callback(self._refreshed)

    async def ask(self, operation: Operation, at_ms: int, *, journaled: bool) -> Reply:
        """Return the judge's answer to ``operation``; ``journaled`` waits until it is recorded.

        Raises: UnknownCustomer; InvalidInput for a release below zero or a total too large;
        CountersLost when the counters cannot judge; Unavailable when a journaled answer cannot be
        recorded: then its outcome is open, and the same key finds out.
        Cost: one round trip; unknown state costs reads of the record first.
        """
        shard = keys.shard_of(operation.customer)
        if journaled:
            await in_task()
            await self._expect_record()
            # Without a connection there is no epoch yet under which its entry could be awaited.
            await self._expect_epoch(shard)
        loop = asyncio.get_running_loop()
        began, asked_at = loop.time(), at_ms
        for _ in range(MOST_ROUNDS):
            epoch = self._epoch(shard)
            reply = await self._admit(operation, at_ms)
            verdict = reply.verdict
            if verdict is Verdict.CLOCKS_DIFFER:
                # Perhaps only because what was unknown took its time to be brought.
                passed = asked_at + int((loop.time() - began) * 1000)
                if passed - at_ms >= WORTH_A_ROUND_MS:
                    at_ms = passed
                    continue
            if verdict in _LACKING:
                await in_task()
                await self._bring(verdict, operation.customer, instant(at_ms))
                continue
            self._refuse(reply)
            if reply.refresh:
                self.refresh(operation.customer, at_ms)
            if journaled and reply.entry and verdict is not Verdict.PENDING:
                await self._recorded(shard, epoch, reply)
            return reply
        raise Unavailable("the counters change faster than they can be read; try again")

    async def _bring(self, lacking: Verdict, customer: str, at: datetime) -> None:
        """Bring from the record what the script did not know."""
        if lacking is Verdict.NO_SNAPSHOT:
            await self._publishing.publish_key(customer, at)
        elif lacking is Verdict.NO_COUNTERS:
            await self._prepare(customer, at)
        else:
            await self._renew(keys.shard_of(customer))

    def _epoch(self, shard: int) -> int:
        try:
            return self._door.epoch(shard)
        except NotSent:
            return -1

    async def _admit(self, operation: Operation, at_ms: int) -> Reply:
        try:
            return await self._counters.admit(operation, at_ms)
        except NotSent as error:
            raise CountersLost(error.message) from error
        except OutcomeUnknown as error:
            if not operation.fingerprint and operation.action is not Action.CHECK:
                raise CountersLost(error.message) from error
        # Carried out or not, the same operation id gives one answer, and a check counts nothing.
        try:
            return await self._counters.admit(operation, at_ms)
        except (NotSent, OutcomeUnknown) as error:
            raise CountersLost(error.message) from error

    def _refuse(self, reply: Reply) -> None:
        match reply.verdict:
            case Verdict.JOURNAL_FULL:
                raise CountersLost("the journal is full because the record cannot be reached")
            case Verdict.CLOCKS_DIFFER:
                raise Unavailable("this server's clock differs from that of the counter store")
            case Verdict.BELOW_ZERO:
                raise InvalidInput("more units would be released than are in use")
            case Verdict.TOO_MANY:
                raise InvalidInput("the total would exceed 2^53 - 1 units")
            case _:
                return

    async def _renew(self, shard: int) -> None:
        try:
            await self._door.renew_epoch(shard)
        except (NotSent, OutcomeUnknown) as error:
            raise CountersLost(error.message) from error

    async def _prepare(self, customer: str, at: datetime) -> None:
        """Publish and fill, once for all callers of the moment in this process.

        Where the store was replaced meanwhile nothing is filled: the next round finds what the one
        that is there now does not know.
        """
        running = self._preparing.get(customer)
        if running is None:
            running = asyncio.ensure_future(self._fill(customer, at))
            self._preparing[customer] = running
            running.add_done_callback(lambda _: self._preparing.pop(customer, None))
        try:
            await asyncio.shield(running)
        except CountersReplaced:
            return
        except (NotSent, OutcomeUnknown) as error:
            raise CountersLost(error.message) from error

    async def _fill(self, customer: str, at: datetime) -> None:
        snapshot = await self._publishing.publish_key(customer, at)
        await self._hydration.fill(customer, snapshot, at)

    def _refreshed(self, task: asyncio.Task[Snapshot]) -> None:
        self._refreshing.discard(task)
        if not task.cancelled():
            task.exception()

    async def _recorded(self, shard: int, epoch: int, reply: Reply) -> None:
        if self._epoch(shard) != epoch:
            raise Unavailable("the counter store was replaced; ask again with the same key")
        try:
            await self._drainer.reach(shard, epoch, entry_id(reply.entry))
        except Unavailable:
            self._record_lost_until = asyncio.get_running_loop().time() + RECORD_PAUSE_SECONDS
            raise

    async def _expect_epoch(self, shard: int) -> None:
        """Connect, where that was not done. Raises: CountersLost."""
        try:
            await self._door.standing_epoch(shard)
        except (NotSent, OutcomeUnknown) as error:
            raise CountersLost(error.message) from error

    async def _expect_record(self) -> None:
        """Refuse before counting while the record was just seen out of reach."""
        if asyncio.get_running_loop().time() < self._record_lost_until:
            await self._record_answers()
            self._record_lost_until = 0.0
