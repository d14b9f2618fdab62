import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from api.catalog import audit
from api.catalog.revisions import NoCatalog, Revisions
from api.domain.catalog import CustomerType, FeatureKind
from api.domain.errors import InvalidInput
from tests.catalog.conftest import Store
from tests.support import builders
from tests.support.builders import catalog, daily, feature, instant, plan
from tests.support.waiting import until

AT = instant("2026-03-10 10:00")
CHEAPER = catalog(plans=[plan("free", analyses=daily(5))])


async def test_before_the_first_apply_there_is_no_catalog(empty_store: Store) -> None:
    with pytest.raises(NoCatalog, match="headroom catalog apply"):
        _ = empty_store.revisions.newest
    with pytest.raises(NoCatalog):
        await empty_store.revisions.current()
    with pytest.raises(NoCatalog):
        await empty_store.customer("acme", AT)


async def test_a_catalog_comes_back_as_it_was_applied(store: Store) -> None:
    elsewhere = Revisions(store.database)
    found = await elsewhere.current()
    assert found.catalog == catalog()
    assert list(found.catalog.plans) == list(catalog().plans)
    assert found == store.revisions.newest


async def test_the_same_catalog_twice_is_one_revision(store: Store) -> None:
    first = store.revisions.newest
    assert await store.apply(catalog(), AT) == first
    assert len(await store.revisions.history()) == 1
    second = await store.apply(CHEAPER, AT)
    assert second.number > first.number
    assert [line.number for line in await store.revisions.history()] == [
        second.number,
        first.number,
    ]


async def test_going_back_to_an_earlier_catalog_is_a_new_revision(store: Store) -> None:
    await store.apply(CHEAPER, AT)
    again = await store.apply(catalog(), AT)
    assert again.number == 3
    assert (await store.revisions.get(1)).catalog == again.catalog


async def test_a_feature_keeps_its_number_for_ever(store: Store) -> None:
    first = dict(store.revisions.newest.feature_ids)
    without = [f for f in builders.FEATURES if f.key != builders.POSTS]
    sold = catalog(features=[*without, feature("calls")], plans=[], add_ons=[])
    sold = replace(sold, plans={"free": plan("free", calls=daily(5))})
    second = await store.apply(sold, AT)
    assert second.feature_ids["calls"] == len(first) + 1
    back = await store.apply(catalog(), AT)
    assert {key: back.feature_ids[key] for key in first} == first


async def test_a_feature_cannot_become_another_kind(store: Store) -> None:
    features = [
        replace(f, kind=FeatureKind.ALLOCATION) if f.key == builders.POSTS else f
        for f in builders.FEATURES
    ]
    with pytest.raises(InvalidInput, match="'posts' was metered and cannot become allocation"):
        await store.apply(catalog(features=features), AT)
    assert len(await store.revisions.history()) == 1


async def test_a_customer_type_in_use_cannot_be_left_out(store: Store) -> None:
    await store.customer("ada", AT, type="person")
    sold = catalog(customer_types={"business": CustomerType("business", "Business", "free")})
    expected = ("The customer type 'person' is left out, and 1 customers are of it.",)
    assert await store.revisions.hindrances(sold) == expected
    with pytest.raises(InvalidInput, match="'person' is left out"):
        await store.apply(sold, AT)
    assert store.revisions.newest.number == 1
    assert await store.revisions.hindrances(CHEAPER) == ()


async def test_applying_without_a_reason_changes_nothing(store: Store) -> None:
    with pytest.raises(InvalidInput, match="Say why"):
        await store.revisions.apply(CHEAPER, "tester", " ", AT)
    assert len(await store.revisions.history()) == 1
    assert store.revisions.newest.catalog == catalog()


async def test_applies_at_once_come_one_after_the_other(empty_store: Store) -> None:
    one = [Revisions(empty_store.database) for _ in range(4)]
    sold = [catalog(), CHEAPER, catalog(), CHEAPER]
    applied = await asyncio.gather(
        *(r.apply(s, "tester", "a race", AT) for r, s in zip(one, sold, strict=True))
    )
    history = await empty_store.revisions.history()
    assert len(history) in (2, 3, 4)
    # Whatever the order was, no revision repeats the one before it.
    assert all(a.checksum != b.checksum for a, b in pairwise(history))
    assert all(a.catalog == s for a, s in zip(applied, sold, strict=True))
    ids = await empty_store.database.fetch("select id from features order by id")
    assert [row["id"] for row in ids] == [1, 2, 3, 4, 5]


async def test_another_process_hears_of_a_new_catalog(store: Store) -> None:
    elsewhere = Revisions(store.database)
    async with elsewhere.follow():
        await until(lambda: elsewhere.in_memory(1) is not None)
        applied = await store.apply(CHEAPER, AT)
        await until(lambda: elsewhere.newest.number == applied.number)
    assert elsewhere.newest.catalog == CHEAPER


async def test_reading_an_old_revision_does_not_make_it_the_newest(store: Store) -> None:
    await store.apply(CHEAPER, AT)
    elsewhere = Revisions(store.database)
    await elsewhere.current()
    assert (await elsewhere.get(1)).catalog == catalog()
    assert elsewhere.newest.number == 2
    with pytest.raises(InvalidInput, match="no catalog revision 99"):
        await elsewhere.get(99)


async def test_an_apply_is_in_the_audit_log(store: Store) -> None:
    (act,) = await audit.list_(store.database)
    assert (act.actor, act.action, act.reason) == ("tester", "catalog.apply", "a test")
    assert act.detail["revision"] == 1
