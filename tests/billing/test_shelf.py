"""The catalog on Stripe's shelf: complete, never twice, and never edited."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from api.billing.problems import NotAtProvider, ProviderRefused, Unreadable
from api.billing.shelf import names, planned
from api.billing.stripe_api import StripeApi
from api.billing.stripe_shelf import StripeShelf
from api.catalog.file import load
from api.domain.catalog import Catalog
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock

CATALOG = load(Path(__file__).parents[2] / "examples" / "bookkeeper.toml")


@pytest.fixture
async def sim() -> AsyncGenerator[SimulatedStripe]:
    async with simulated_stripe(FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC))) as running:
        yield running


@pytest.fixture
async def shelf(sim: SimulatedStripe) -> AsyncGenerator[StripeShelf]:
    api = StripeApi(sim.key, sim.address)
    yield StripeShelf(api)
    await api.close()


def dearer(catalog: Catalog = CATALOG) -> Catalog:
    starter = catalog.plans["starter"]
    price = replace(starter.prices[0], amount_minor=5900)
    plans = {**catalog.plans, "starter": replace(starter, prices=(price,))}
    return replace(catalog, plans=MappingProxyType(plans))


async def push(
    shelf: StripeShelf, catalog: Catalog, most: int = 100, *, retire: bool = False
) -> int:
    steps = planned(catalog, await shelf.look(), retire=retire).steps
    for step in steps[:most]:
        await shelf.do(catalog.product, step)
    return len(steps)


def live_prices(sim: SimulatedStripe, key: str) -> list[str]:
    return [
        price["id"]
        for price in sim.all("price")
        if price["active"] and price["metadata"].get("headroom_price") == key
    ]


async def test_an_empty_account_gets_every_product_and_price(
    sim: SimulatedStripe, shelf: StripeShelf
) -> None:
    await push(shelf, CATALOG)
    assert {p["lookup_key"] for p in sim.all("price")} == {"starter", "pro", "firm", "firm_addon"}
    found = names(CATALOG, await shelf.look())
    assert found["STRIPE_PRODUCT_STARTER"] == "headroom_bookkeeper_plan_starter"
    assert found["STRIPE_PRICE_FIRM_ADDON"] == live_prices(sim, "firm_addon")[0]
    assert await push(shelf, CATALOG) == 0


async def test_a_changed_price_is_replaced_and_the_old_one_keeps_its_name(
    sim: SimulatedStripe, shelf: StripeShelf
) -> None:
    await push(shelf, CATALOG)
    (old,) = live_prices(sim, "starter")
    await push(shelf, dearer())
    (new,) = live_prices(sim, "starter")
    assert new != old
    assert sim.get(new)["unit_amount"] == 5900
    assert sim.get(old)["unit_amount"] == 4900
    assert not sim.get(old)["active"]
    assert sim.get(old)["metadata"]["headroom_price"] == "starter"
    assert await push(shelf, dearer()) == 0


async def test_a_push_that_was_killed_after_any_call_is_completed_by_the_next() -> None:
    for most in range(1, 12):
        async with simulated_stripe(FakeClock(datetime(2026, 3, 1, tzinfo=UTC))) as sim:
            api = StripeApi(sim.key, sim.address)
            shelf = StripeShelf(api)
            await push(shelf, CATALOG, most)
            await push(shelf, CATALOG)
            await push(shelf, dearer(), most)
            await push(shelf, dearer())
            assert await push(shelf, dearer()) == 0, most
            assert len(live_prices(sim, "starter")) == 1, most
            await api.close()


async def test_two_who_push_at_the_same_instant_make_one_price(
    sim: SimulatedStripe, shelf: StripeShelf
) -> None:
    async def one(catalog: Catalog) -> None:
        for step in planned(catalog, await shelf.look(), retire=False).steps:
            try:
                await shelf.do(catalog.product, step)
            except (Unreadable, ProviderRefused, NotAtProvider):
                return  # as a push does, which then looks again

    for catalog in (CATALOG, dearer()):
        await asyncio.gather(one(catalog), one(catalog), one(catalog))
        await push(shelf, catalog)
        assert await push(shelf, catalog) == 0
        assert len(live_prices(sim, "starter")) == 1


async def test_what_is_sold_no_more_is_told_of_and_put_away_only_when_asked(
    sim: SimulatedStripe, shelf: StripeShelf
) -> None:
    await push(shelf, CATALOG)
    plans = {key: plan for key, plan in CATALOG.plans.items() if key != "pro"}
    fewer = replace(CATALOG, plans=MappingProxyType(plans))
    told = planned(fewer, await shelf.look(), retire=False)
    assert told.steps == ()
    assert [step.item for step in told.gone] == ["plan:pro", "plan:pro"]
    await push(shelf, fewer, retire=True)
    assert live_prices(sim, "pro") == []
    await push(shelf, CATALOG)
    assert len(live_prices(sim, "pro")) == 1
