"""USE-6: the counter store is unreachable.

Each feature's own policy: refuse, allow, or allow a bounded amount; answers say they are degraded,
and are settled afterwards.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from api.domain.errors import Unavailable
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyWay, flaky_way
from tests.support.scene import Scene, recorded, scene, used

CATALOG = """
product = "outage"

[customer_types.business]
default_plan = "free"

[features.strict]
name = "Strict"
kind = "metered"

[features.lenient]
name = "Lenient"
kind = "metered"
outage = "open"

[features.careful]
name = "Careful"
kind = "metered"
outage = { bounded = 5 }

[features.withheld]
name = "Not granted"
kind = "metered"
outage = "open"

[plans.free]
name = "Free"
[plans.free.features]
strict.day = 100
lenient.day = 100
careful.day = 100

[plans.pro]
name = "Pro"
[plans.pro.features]
withheld.day = 1
"""


@dataclass
class Outage:
    """An installation whose counter store can be cut off, with one unit used of everything."""

    scene: Scene
    way: FlakyWay
    clock: FakeClock

    async def begins(self) -> None:
        """Cut the counter store off, and let this be noticed."""
        self.way.cut()
        with suppress(Unavailable):
            while True:
                await self.scene.core.door.command("PING")

    async def ends(self) -> None:
        """Let the counter store be reached again, and the worker settle."""
        self.way.down = False
        strict = [await self.scene.consume("strict", 100, customer="globex")]
        while strict[-1].status_code == 503:
            strict.append(await self.scene.consume("strict", 100, customer="globex"))
        await self.scene.core.outage.settle()

    async def used(self, feature: str) -> int:
        [units] = await used(self.scene.core, feature, self.clock.now())
        return units


@pytest.fixture
async def outage(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Outage]:
    async with (
        flaky_way(redis_url) as way,
        scene(database_url, way.url, clock, CATALOG) as site,
    ):
        for feature in ("strict", "lenient", "careful"):
            assert (await site.consume(feature)).status_code == 200
        cut_off = Outage(site, way, clock)
        await cut_off.begins()
        yield cut_off


async def test_a_strict_feature_is_refused_and_nothing_of_it_is_counted(outage: Outage) -> None:
    for door in ("/v1/consume", "/v1/check"):
        refused = await outage.scene.site.post(door, {"customer": "acme", "feature": "strict"})
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    await outage.ends()
    assert await outage.used("strict") == 1


async def test_a_lenient_feature_passes_says_so_and_is_settled_afterwards(outage: Outage) -> None:
    for number in range(120):
        passed = await outage.scene.consume("lenient", key=f"blind-{number}")
        assert passed.status_code == 200
        assert passed.json()["degraded"]
        assert passed.json()["windows"] == []
    await outage.ends()
    # Beyond its limit, as was promised; from now on the limit holds.
    assert await outage.used("lenient") == 121
    assert await recorded(outage.scene.core, "lenient") >= 120
    after = await outage.scene.consume("lenient")
    assert (after.status_code, after.json()["used"]) == (429, 121)
    again = await outage.scene.consume("lenient", key="blind-7")
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    assert await outage.scene.core.outage.settle() == 0
    assert await outage.used("lenient") == 121


async def test_a_careful_feature_passes_up_to_its_bound_for_the_whole_fleet(
    outage: Outage,
) -> None:
    scene_ = outage.scene
    first = await scene_.consume("careful", 3, key="blind-1")
    assert (first.status_code, first.json()["degraded"]) == (200, True)
    too_many = await scene_.consume("careful", 3)
    assert (too_many.status_code, too_many.json()["code"]) == (503, "UNAVAILABLE")
    assert (await scene_.consume("careful", 3, key="blind-1")).json()["id"] == first.json()["id"]
    assert (await scene_.consume("careful", 2)).status_code == 200
    assert (await scene_.consume("careful", 1)).status_code == 503
    await outage.ends()
    assert await outage.used("careful") == 6
    # Settled, so the next outage has its whole bound again.
    await outage.begins()
    assert (await scene_.consume("careful", 5)).status_code == 200


async def test_an_open_policy_does_not_give_what_the_plan_does_not(outage: Outage) -> None:
    refused = await outage.scene.consume("withheld")
    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    await outage.ends()
    denied = await outage.scene.consume("withheld")
    assert (denied.status_code, denied.json()["code"]) == (402, "FEATURE_NOT_IN_PLAN")


async def test_a_check_answers_degraded_where_a_consume_would_pass(outage: Outage) -> None:
    for feature in ("lenient", "careful"):
        said = await outage.scene.site.post("/v1/check", {"customer": "acme", "feature": feature})
        assert said.status_code == 200
        assert (said.json()["allowed"], said.json()["degraded"]) == (True, True)
    await outage.ends()
    assert await outage.used("lenient") == 1
