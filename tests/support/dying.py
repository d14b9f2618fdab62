"""Two processes that spend from one record and one counter store; one of them may die."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from api.domain.errors import Unavailable
from api.gates.held import Hold
from api.gates.outcome import Consumption, Denied
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.flaky_record import FlakyRecord, flaky_record
from tests.support.gate import ms, opened
from tests.support.spending import ACTOR, CATALOG, DEADLINE, work
from tests.support.waiting import eventually


@dataclass
class DyingScene:
    """Two processes on one record and one counter store; the ways of the first may fail."""

    clock: FakeClock
    dying: Core
    other: Core
    record: FlakyRecord
    counters: FlakyWay

    async def consume(
        self, core: Core, customer: str, key: str | None, units: int = 5, feature: str = "chat"
    ) -> Consumption | Denied:
        return await core.gate.consume(customer, feature, units, key, ms(self.clock.now()))

    async def hold(
        self, core: Core, customer: str, key: str | None, units: int = 5
    ) -> Hold | Denied:
        at = ms(self.clock.now())
        return await core.holding.place(customer, "chat", units, key, at, seconds=3600, actor=ACTOR)

    async def flush(self) -> None:
        await self.other.door.command("FLUSHALL")

    async def mend(self) -> None:
        """Have both ways stand again, for the next one who dies."""
        self.counters.lose_replies(0)
        self.counters.down = False
        self.record.forgive()
        await eventually(self.up)

    async def up(self) -> bool:
        try:
            await self.dying.door.command("PING")
        except Unavailable:
            return False
        return True

    async def wait_out(self) -> None:
        self.clock.advance(seconds=round(DEADLINE.total_seconds()))
        await work(self.other, self.clock.now())


@asynccontextmanager
async def dying_scene(
    database_url: str, redis_url: str, clock: FakeClock
) -> AsyncGenerator[DyingScene]:
    """Open both, with every script known, so that the next call of any is one request."""
    async with (
        flaky_record(database_url) as record,
        flaky_way(redis_url) as counters,
        opened(record.url, counters.url, clock, CATALOG) as dying,
        opened(database_url, redis_url, clock, CATALOG) as other,
    ):
        made = DyingScene(clock, dying, other, record, counters)
        assert isinstance(await made.consume(dying, "acme", None, 30), Denied)
        assert isinstance(await made.hold(dying, "acme", None, 30), Denied)
        yield made
