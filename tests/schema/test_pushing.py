"""The catalog at the provider, as operators push it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock
from tests.support.graphql import Api, served

PUSH = """
mutation ($reason: String!, $dry: Boolean! = true, $sure: Boolean! = false) {
  pushCatalog(reason: $reason, dryRun: $dry, confirmLive: $sure) {
    executed live ids
    steps { act item productId priceKey replaces text } done { act } soldNoMore { item }
  }
}
"""


@pytest.fixture
async def sim(clock: FakeClock) -> AsyncIterator[SimulatedStripe]:
    async with simulated_stripe(clock) as running:
        yield running


@asynccontextmanager
async def with_key(
    database_url: str, redis_url: str, clock: FakeClock, sim: SimulatedStripe, key: str
) -> AsyncGenerator[Api]:
    async with served(
        database_url, redis_url, clock, STRIPE_SECRET_KEY=key, STRIPE_API_BASE=sim.address
    ) as api:
        yield api


async def pushes(api: Api) -> list[tuple[str, str]]:
    rows = await api.core.database.fetch(
        "select actor, reason from audit_log where action = 'catalog.push' order by id"
    )
    return [(row["actor"], row["reason"]) for row in rows]


async def test_a_dry_run_shows_and_a_push_does_it_once_on_record(
    database_url: str, redis_url: str, clock: FakeClock, sim: SimulatedStripe
) -> None:
    async with with_key(database_url, redis_url, clock, sim, sim.key) as api:
        shown = (await api.data(PUSH, reason="a look"))["pushCatalog"]
        assert [(s["act"], s["item"], s["priceKey"]) for s in shown["steps"]] == [
            ("make_product", "plan:pro", None),
            ("make_price", "plan:pro", "pro"),
        ]
        assert (shown["executed"], shown["live"], shown["done"]) == (False, False, [])
        assert list(sim.all("product")) == []
        assert await pushes(api) == []

        done = (await api.data(PUSH, reason="a new account", dry=False))["pushCatalog"]
        assert done["done"] == [{"act": "make_product"}, {"act": "make_price"}]
        [price] = sim.all("price")
        assert done["ids"]["STRIPE_PRICE_PRO"] == price["id"]
        [(actor, reason)] = await pushes(api)
        assert actor
        assert reason == "a new account"

        again = (await api.data(PUSH, reason="to be sure", dry=False))["pushCatalog"]
        assert (again["executed"], again["steps"], again["done"]) == (True, [], [])
        assert len(await pushes(api)) == 1


async def test_a_live_key_pushes_only_when_that_is_confirmed(
    database_url: str, redis_url: str, clock: FakeClock, sim: SimulatedStripe
) -> None:
    live = sim.key.replace("test", "live")
    async with with_key(database_url, redis_url, clock, sim, live) as api:
        error = await api.error(PUSH, reason="go live", dry=False)
        assert error["code"] == "INVALID_INPUT"
        assert "confirmLive: true" in error["message"]
        assert list(sim.all("product")) == []
        assert await pushes(api) == []

        sim.door.key = live
        shown = (await api.data(PUSH, reason="a look"))["pushCatalog"]
        assert (shown["executed"], shown["live"], sim.faults.asked(method="POST")) == (
            False,
            True,
            0,
        )
        done = (await api.data(PUSH, reason="go live", dry=False, sure=True))["pushCatalog"]
        assert (done["executed"], done["live"]) == (True, True)
        assert [price["lookup_key"] for price in sim.all("price")] == ["pro"]
        assert [reason for _, reason in await pushes(api)] == ["go live"]


async def test_no_reason_no_key_and_no_admin_push_nothing(
    database_url: str, redis_url: str, clock: FakeClock, sim: SimulatedStripe
) -> None:
    async with with_key(database_url, redis_url, clock, sim, sim.key) as api:
        assert (await api.error(PUSH, reason=" ", dry=False))["code"] == "INVALID_INPUT"
        support = await api.key("support")
        error = await api.error(PUSH, as_=support, reason="I may not", dry=False)
        assert error["code"] == "FORBIDDEN"
        assert list(sim.all("product")) == []
    async with with_key(database_url, redis_url, clock, sim, "") as api:
        error = await api.error(PUSH, reason="no key")
        assert "STRIPE_SECRET_KEY" in error["message"]
