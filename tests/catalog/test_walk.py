import asyncio

import pytest

from api.catalog import walk as walking
from api.catalog.customers import CustomerInput
from api.domain.catalog import WindowKind
from api.domain.windows import Window
from tests.catalog.conftest import Store, store_on
from tests.support.builders import (
    ANALYSES,
    BILLING,
    POSTS,
    catalog,
    daily,
    instant,
    monthly,
    override,
    plan,
)

AT = instant("2026-03-10 10:00")
BILLED = catalog(plans=[plan("free", analyses=daily(50), posts=monthly(10, anchor=BILLING))])


async def behind(store: Store) -> int:
    newest = (await store.revisions.current()).number
    statement = "select count(*) from customers where catalog_revision < $1"
    return int(await store.database.fetchval(statement, newest))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "BATCH", 2)


async def test_everybody_comes_to_the_new_catalog_and_is_told(store: Store) -> None:
    made = [await store.customer(f"c{i}", AT) for i in range(5)]
    revision = await store.apply(catalog(plans=[plan("free", analyses=daily(5))]), AT)
    told: list[tuple[int, int]] = []
    assert await store.changes.walk(AT, lambda done, total: told.append((done, total))) == 5
    assert told == [(0, 5), (5, 5)]
    for customer in made:
        row = await store.row(customer.id)
        assert (row["catalog_revision"], row["version"], row["published_version"]) == (
            revision.number,
            2,
            2,
        )
        assert await store.told_version(customer.key) == 2
    assert await store.changes.walk(AT) == 0


async def test_a_catalog_that_switches_a_window_keeps_it_running_for_everybody(
    store: Store,
) -> None:
    acme = await store.customer("acme", instant("2026-01-05 09:30"))
    await store.apply(BILLED, AT)
    await store.changes.walk(AT)
    assert await store.pins(acme.id) == {
        (POSTS, WindowKind.MONTH): Window(instant("2026-03-01"), instant("2026-04-05 09:30"))
    }


async def test_each_is_judged_by_the_catalog_it_had(store: Store) -> None:
    early = await store.customer("early", instant("2026-01-05 09:30"))
    await store.apply(BILLED, AT)
    late = await store.customer("late", instant("2026-01-20 12:00"))
    assert (early.catalog_revision, late.catalog_revision) == (1, 2)
    # Back to the calendar: only the late one comes from a billing month, the early one from the
    # calendar month that it never left.
    await store.apply(catalog(), AT)
    await store.changes.walk(AT)
    assert await store.pins(early.id) == {}
    assert (await store.pins(late.id))[POSTS, WindowKind.MONTH] == Window(
        instant("2026-02-20 12:00"), instant("2026-04-01")
    )


@pytest.mark.usefixtures("small_batches")
async def test_a_walk_that_died_is_taken_up_where_it_was(store: Store) -> None:
    for i in range(5):
        await store.customer(f"c{i}", AT)
    await store.apply(BILLED, AT)

    def die(done: int, _total: int) -> None:
        if done >= 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.changes.walk(AT, die)
    assert await behind(store) == 3
    assert await store.changes.walk(AT) == 3
    assert await behind(store) == 0
    versions = await store.database.fetch("select version from customers")
    assert {row["version"] for row in versions} == {2}


@pytest.mark.usefixtures("small_batches")
async def test_two_walks_at_once_move_each_customer_once(store: Store, redis_url: str) -> None:
    for i in range(12):
        await store.customer(f"c{i}", AT)
    await store.apply(BILLED, AT)
    async with store_on(store.database, redis_url) as elsewhere:
        moved = await asyncio.gather(store.changes.walk(AT), elsewhere.changes.walk(AT))
    assert sum(moved) == 12
    versions = await store.database.fetch("select version, published_version from customers")
    assert {tuple(row) for row in versions} == {(2, 2)}


@pytest.mark.usefixtures("small_batches")
async def test_changes_during_a_walk_are_lost_by_nobody(store: Store) -> None:
    made = [await store.customer(f"c{i}", AT) for i in range(8)]
    await store.apply(BILLED, AT)

    async def promise(key: str) -> None:
        promised = override(ANALYSES, limits=daily(7))
        await store.changes.set_override(key, promised, at=AT, actor="ada", reason="a race")

    await asyncio.gather(store.changes.walk(AT), *(promise(c.key) for c in made))
    entitled = await store.customers.entitled([c.id for c in made], AT)
    for customer in made:
        one = entitled[customer.id]
        assert one.revision.number == 2
        assert one.entitlements.features[ANALYSES].limits[0].units == 7
        assert await store.told_version(customer.key) == one.held.customer.version
        assert one.held.facts.pins


async def test_who_comes_while_a_process_has_not_heard_gets_the_newest_catalog(
    store: Store, redis_url: str
) -> None:
    async with store_on(store.database, redis_url) as unaware:
        await unaware.revisions.current()
        await store.apply(BILLED, AT)
        assert unaware.revisions.newest.number == 1
        made = await unaware.changes.upsert_customer(CustomerInput("acme"), AT, "tester")
    assert made.catalog_revision == 2


async def test_a_change_brings_the_customer_to_the_newest_catalog(store: Store) -> None:
    acme = await store.customer("acme", instant("2026-01-05 09:30"))
    await store.apply(BILLED, AT)
    changed = await store.customer("acme", AT, type="person")
    assert (changed.catalog_revision, changed.version) == (2, 2)
    assert (POSTS, WindowKind.MONTH) in await store.pins(acme.id)
