"""A name keeps its first answer, whoever paid then and whatever is sold now."""

from collections.abc import AsyncIterator

import pytest

from api.catalog.file import parse
from api.domain.catalog import Limit, WindowKind
from api.domain.entitlements import OverrideFacts
from api.gates.outcome import Consumption
from api.wiring import Core
from tests.gates.test_charging import MORE, consumed
from tests.support.clock import FakeClock
from tests.support.gate import opened
from tests.support.scene import subscribe
from tests.support.spending import CATALOG, agree, books, drain, grant

COST = "[costs.claim]\ncredits = 5\n"
INCLUDED = Limit(WindowKind.MONTH, 3, overage=True)


@pytest.fixture
async def built(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Core]:
    async with opened(database_url, redis_url, clock, CATALOG + MORE) as core:
        await grant(core, "acme", 100, clock.now())
        yield core


async def promise(core: Core, clock: FakeClock, limit: Limit) -> None:
    promised = OverrideFacts("claim", limits=(limit,))
    await core.changes.set_override("acme", promised, at=clock.now(), actor="t", reason="t")


async def sell(core: Core, clock: FakeClock, catalog: str) -> None:
    await core.revisions.apply(parse(catalog, "test.toml"), "t", "t", clock.now())
    await core.changes.walk(clock.now())


async def replayed(core: Core, clock: FakeClock, feature: str, first: Consumption) -> None:
    """Ask again as the first time; nothing more is counted or charged."""
    await drain(core)
    before = await books(core, "acme", feature)
    again = await consumed(core, clock, feature, first.units, "k")
    assert (again.id, again.replayed) == (first.id, True)
    assert again.funding == first.funding
    await drain(core)
    assert await books(core, "acme", feature) == before
    await agree(core, "acme", clock.now())


def credits_of(one: Consumption) -> int:
    assert one.funding is not None
    return one.funding.credits


async def test_what_a_promise_included_is_not_charged_when_it_is_gone(
    built: Core, clock: FakeClock
) -> None:
    await promise(built, clock, INCLUDED)
    first = await consumed(built, clock, "claim", 2, "k")
    assert credits_of(first) == 0
    await built.changes.clear_override("acme", "claim", at=clock.now(), actor="t", reason="t")
    await consumed(built, clock, "claim", 1)
    await replayed(built, clock, "claim", first)


async def test_what_an_older_catalog_included_is_not_charged_by_a_newer_one(
    built: Core, clock: FakeClock
) -> None:
    first = await consumed(built, clock, "chat", 2, "k")
    included = 'chat.month = { units = 3, overage = "credits" }\nchat.year = 40'
    await sell(built, clock, (CATALOG + MORE).replace(included, 'chat = "unlimited"'))
    await consumed(built, clock, "chat", 1)
    await replayed(built, clock, "chat", first)


async def test_what_a_plan_included_is_not_charged_after_a_loss_of_the_counters(
    built: Core, clock: FakeClock
) -> None:
    first = await consumed(built, clock, "chat", 2, "k")
    await subscribe(built, "acme", "open", clock.now())
    await drain(built)
    await built.door.command("FLUSHALL")
    await replayed(built, clock, "chat", first)


@pytest.mark.parametrize("lost", [False, True])
async def test_what_credits_paid_alone_is_not_counted_when_a_plan_includes_it(
    built: Core, clock: FakeClock, *, lost: bool
) -> None:
    first = await consumed(built, clock, "claim", 2, "k")
    assert credits_of(first) == 10
    await promise(built, clock, INCLUDED)
    if lost:
        await built.door.command("FLUSHALL")
    await replayed(built, clock, "claim", first)


@pytest.mark.parametrize("lost", [False, True])
async def test_what_was_paid_is_answered_again_when_it_costs_nothing_any_more(
    built: Core, clock: FakeClock, *, lost: bool
) -> None:
    first = await consumed(built, clock, "claim", 2, "k")
    await sell(built, clock, (CATALOG + MORE).replace(COST, ""))
    if lost:
        await built.door.command("FLUSHALL")
    again = await consumed(built, clock, "claim", 2, "k")
    assert (again.id, again.replayed) == (first.id, True)
    assert (await books(built, "acme", "claim")).units == 2


@pytest.mark.parametrize("lost", [False, True])
async def test_what_was_free_is_answered_again_when_it_has_come_to_cost_credits(
    database_url: str, redis_url: str, clock: FakeClock, *, lost: bool
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG.replace(COST, "")) as core:
        await grant(core, "acme", 100, clock.now())
        first = await consumed(core, clock, "claim", 2, "k")
        await drain(core)
        await sell(core, clock, CATALOG)
        if lost:
            await core.door.command("FLUSHALL")
        again = await consumed(core, clock, "claim", 2, "k")
        assert (again.id, again.replayed) == (first.id, True)
        assert (await books(core, "acme", "claim")).spent == 0
