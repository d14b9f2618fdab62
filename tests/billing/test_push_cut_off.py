"""Pushes that are cut off, killed, or done by several at once: never two of one thing."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from api.domain.errors import Unavailable
from api.infra.postgres import Database
from tests.support.clock import FakeClock
from tests.support.pushing import CATALOG, DEARER, KEYS, STEPS, Shop, pushing


@pytest.fixture
async def shop(database: Database, clock: FakeClock) -> AsyncGenerator[Shop]:
    async with pushing(database, clock) as opened:
        yield opened


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("place", range(STEPS))
async def test_a_push_cut_off_inside_any_call_is_completed_by_the_next_and_doubles_nothing(
    shop: Shop, place: int, effect: str
) -> None:
    def arm(done: int, _total: int, _step: object) -> None:
        if done == place:
            shop.sim.faults.cut_next(method="POST", after_effect=effect == "after")

    arm(0, 0, None)
    with pytest.raises(Unavailable):
        await shop.push(progress=arm)
    await shop.repeated(CATALOG)
    assert len(list(shop.sim.all("price"))) == len(KEYS)


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("place", range(2))
async def test_a_replacement_cut_off_inside_any_call_leaves_one_price_to_a_lookup_key(
    shop: Shop, place: int, effect: str
) -> None:
    await shop.push()

    def arm(done: int, _total: int, _step: object) -> None:
        if done == place:
            shop.sim.faults.cut_next(method="POST", after_effect=effect == "after")

    arm(0, 0, None)
    with pytest.raises(Unavailable):
        await shop.push(DEARER, progress=arm)
    await shop.repeated(DEARER)
    assert len(list(shop.sim.all("price"))) == len(KEYS) + 1


async def test_a_push_killed_while_a_call_is_in_flight_is_completed_by_the_next(
    shop: Shop,
) -> None:
    gate, held, server = asyncio.Event(), asyncio.Event(), shop.sim.server
    assert server is not None

    def hold(done: int, _total: int, _step: object) -> None:
        if done == 1:
            server.arrived.clear()
            server.gate = gate
            held.set()

    killed = asyncio.create_task(shop.push(progress=hold))
    async with asyncio.timeout(30):
        await held.wait()
        await server.arrived.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    server.gate = None
    gate.set()
    await shop.repeated(CATALOG)
    assert len(list(shop.sim.all("price"))) == len(KEYS)


async def test_two_pushes_at_once_both_end_well_and_double_nothing(shop: Shop) -> None:
    for what, prices in ((CATALOG, len(KEYS)), (DEARER, len(KEYS) + 1)):
        await asyncio.gather(shop.push(what), shop.push(what), shop.push(what))
        await shop.repeated(what)
        assert len(list(shop.sim.all("price"))) == prices
