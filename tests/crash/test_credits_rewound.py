"""A counter store that restarts or comes back older while credits are decided or held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.domain.errors import Unavailable
from api.gates.held import Hold
from api.gates.outcome import Consumption
from api.infra.engines.throwaway import ThrowawayEngines
from api.wiring import Core
from tests.conftest import EnginesFactory
from tests.support.clock import FakeClock
from tests.support.flaky_record import FlakyRecord, flaky_record
from tests.support.gate import ms, opened
from tests.support.spending import (
    ACTOR,
    CATALOG,
    DEADLINE,
    Books,
    agree,
    books,
    drain,
    newcomer,
    standing,
    whose,
    work,
)
from tests.support.waiting import eventually


class Scene:
    """A process whose way to the record may wait, another, and a store that keeps a file."""

    def __init__(
        self,
        clock: FakeClock,
        engines: ThrowawayEngines,
        record: FlakyRecord,
        cores: tuple[Core, Core],
    ) -> None:
        self.clock, self.engines, self.record = clock, engines, record
        self.first, self.other = cores
        self.older = engines.copy_append_only_file()

    async def restart(self, *, older: bool) -> None:
        await self.engines.restart_valkey(self.older if older else None)
        for core in (self.first, self.other):
            await eventually(lambda core=core: _up(core))  # type: ignore[misc]

    async def wait_out(self) -> None:
        self.clock.advance(seconds=round(DEADLINE.total_seconds()))
        await work(self.other, self.clock.now())


async def _up(core: Core) -> bool:
    try:
        await core.door.command("PING")
    except Unavailable:
        return False
    return True


@pytest.fixture
async def scene(engines_factory: EnginesFactory, clock: FakeClock) -> AsyncIterator[Scene]:
    engines = await engines_factory(append_only=True)
    async with (
        flaky_record(engines.database_url) as record,
        opened(record.url, engines.redis_url, clock, CATALOG) as first,
        opened(engines.database_url, engines.redis_url, clock, CATALOG) as other,
    ):
        yield Scene(clock, engines, record, (first, other))


TAKEN = Books(units=5, charged=2, available=16, held=0, spent=4, operations=1)


async def test_a_restart_between_counting_and_decision_charges_once(scene: Scene) -> None:
    for older in (False, True):
        for recorded in (False, True):
            customer = await newcomer(scene.other, 20, scene.clock.now())
            await standing(scene.first, customer, scene.clock.now())
            at = ms(scene.clock.now())
            async with scene.record.pause("credits_charge") as reached:
                asked = asyncio.create_task(scene.first.gate.consume(customer, "chat", 5, "k", at))
                await reached.wait()
                if recorded:
                    await drain(scene.other)
                await scene.restart(older=older)
                await standing(scene.other, customer, scene.clock.now())
            taken = await asked
            assert isinstance(taken, Consumption)
            assert not taken.replayed
            again = await scene.other.gate.consume(customer, "chat", 5, "k", at)
            assert isinstance(again, Consumption)
            assert (again.id, again.replayed) == (taken.id, True)
            await scene.wait_out()
            assert await books(scene.other, customer) == TAKEN
            assert await standing(scene.other, customer, scene.clock.now()) == [(3, 0), (5, 0)]
            await agree(scene.other, customer, scene.clock.now())


async def test_what_was_voided_is_not_adopted_from_the_file_of_a_store(scene: Scene) -> None:
    customer = await newcomer(scene.other, 20, scene.clock.now())
    await standing(scene.first, customer, scene.clock.now())
    scene.record.refuse("credits_charge", 2)
    with pytest.raises(Unavailable):
        await scene.first.gate.consume(customer, "chat", 5, "k", ms(scene.clock.now()))
    await drain(scene.other)
    await scene.restart(older=False)
    await scene.wait_out()
    taken = await scene.other.gate.consume(customer, "chat", 5, "k", ms(scene.clock.now()))
    assert isinstance(taken, Consumption)
    assert not taken.replayed
    assert await books(scene.other, customer) == TAKEN
    await agree(scene.other, customer, scene.clock.now())


@pytest.mark.parametrize("resolution", ["capture", "void", "expire"])
async def test_a_hold_outlives_a_store_that_comes_back_older(scene: Scene, resolution: str) -> None:
    for when in ("placed", "resolved"):
        customer = await newcomer(scene.other, 20, scene.clock.now())
        await standing(scene.first, customer, scene.clock.now())
        scene.older = scene.engines.copy_append_only_file()
        hold = await scene.first.holding.place(
            customer, "chat", 5, None, ms(scene.clock.now()), seconds=60, actor=ACTOR
        )
        assert isinstance(hold, Hold)
        if when == "placed":
            await scene.restart(older=True)
            assert await standing(scene.other, customer, scene.clock.now()) == [(0, 3), (0, 5)]
        else:
            await drain(scene.other)
            scene.older = scene.engines.copy_append_only_file()
        whose_ = whose(customer, hold.id, scene.clock.now())
        if resolution == "capture":
            await scene.first.holding.capture(whose_, units=4)
        elif resolution == "void":
            await scene.first.holding.void(whose_)
        else:
            scene.clock.advance(seconds=61)
            await scene.first.holding.expire(scene.clock.now())
        if when == "resolved":
            await scene.restart(older=True)
        left = [(3, 0), (4, 0)] if resolution == "capture" else [(0, 0), (0, 0)]
        assert await standing(scene.other, customer, scene.clock.now()) == left
        await scene.wait_out()
        assert await standing(scene.other, customer, scene.clock.now()) == left
        after = await books(scene.other, customer)
        spent = 2 if resolution == "capture" else 0
        assert (after.units, after.available, after.held, after.spent) == (
            left[1][0],
            20 - spent,
            0,
            spent,
        )
        await agree(scene.other, customer, scene.clock.now())
