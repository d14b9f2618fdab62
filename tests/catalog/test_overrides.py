import asyncio

import pytest

from api.catalog import audit, overrides
from api.domain.catalog import MAX_UNITS, WindowKind
from api.domain.entitlements import OverrideFacts
from api.domain.errors import InvalidInput, NotFound, UnknownCustomer, UnknownFeature
from tests.catalog.conftest import Store
from tests.support.builders import (
    ANALYSES,
    COMPANIES,
    EXPORT,
    POSTS,
    SEATS,
    daily,
    instant,
    limit,
    monthly,
    override,
    seats,
)

AT = instant("2026-03-10 10:00")


async def promise(store: Store, promised: OverrideFacts, reason: str = "sold by phone") -> None:
    await store.changes.set_override("acme", promised, at=AT, actor="ada", reason=reason)


async def held(store: Store) -> list[OverrideFacts]:
    acme = await store.customers.get("acme")
    return list((await store.customers.many_facts([acme.id]))[acme.id].overrides)


async def test_a_promise_counts_at_once_and_says_why_in_the_log(store: Store) -> None:
    acme = await store.customer("acme", AT)
    promised = override(expires_at=instant("2026-04-01"))
    await promise(store, promised)
    assert await held(store) == [promised]
    row = await store.row(acme.id)
    assert row["valid_until"] == instant("2026-04-01")
    assert await store.told_version("acme") == row["version"] == 2
    act, *_ = await audit.list_(store.database, customer_id=acme.id)
    assert (act.actor, act.action, act.reason) == ("ada", "override.set", "sold by phone")
    assert act.detail == overrides.document(promised)


async def test_a_promise_comes_back_as_it_was_made(store: Store) -> None:
    await store.customer("acme", AT)
    made = [
        override(
            limits=(
                limit(WindowKind.DAY, None),
                limit(WindowKind.WEEK, 0, code="MY_CAP", status=403),
            )
        ),
        override(COMPANIES, limits=(), value=2.5),
        override(EXPORT, limits=(), enabled=True),
        override(SEATS, limits=seats(MAX_UNITS)),
    ]
    for promised in made:
        await promise(store, promised)
    assert sorted(await held(store), key=str) == sorted(made, key=str)


async def test_a_second_promise_replaces_the_first(store: Store) -> None:
    await store.customer("acme", AT)
    await promise(store, override(expires_at=instant("2026-04-01")))
    second = override(limits=monthly(7))
    await promise(store, second)
    assert await held(store) == [second]


async def test_a_promise_is_taken_back(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await promise(store, override())
    await store.changes.clear_override("acme", ANALYSES, at=AT, actor="ada", reason="expired")
    assert await held(store) == []
    act, *_ = await audit.list_(store.database, customer_id=acme.id)
    assert (act.action, act.detail["feature"]) == ("override.clear", ANALYSES)
    for feature in (ANALYSES, "no\x00feature"):
        with pytest.raises(NotFound, match="no override"):
            await store.changes.clear_override("acme", feature, at=AT, actor="ada", reason="again")
    assert (await store.customers.get("acme")).version == 3


async def test_an_end_is_kept_in_whole_seconds(store: Store) -> None:
    await store.customer("acme", AT)
    await promise(store, override(expires_at=instant("2026-04-01T00:00:00.9+00:00")))
    (kept,) = await held(store)
    assert kept.expires_at == instant("2026-04-01")


@pytest.mark.parametrize(
    ("promised", "told"),
    [
        (override("flying"), "no feature 'flying'"),
        (override("fl\x00ying"), "no feature"),
        (override(limits=()), "says enabled, a value, or at least one limit"),
        (override(enabled=False), "takes the feature away has no value and no limits"),
        (override(value=3), "'analyses' is metered: it has no value"),
        (override(COMPANIES), "'companies' is value: it has no limits"),
        (override(EXPORT), "'export' is boolean: it has no limits"),
        (override(COMPANIES, limits=(), value="x" * 1001), "at most 1000 characters"),
        (override(COMPANIES, limits=(), value="a\x00b"), "no control characters"),
        (override(COMPANIES, limits=(), value=float("nan")), "within 2\\^53"),
        (override(COMPANIES, limits=(), value=2**60), "within 2\\^53"),
        (override(SEATS, limits=daily(3)), "one limit, of lifetime"),
        (override(SEATS, limits=(*seats(3), *seats(4))), "one limit, of lifetime"),
        (override(limits=(*daily(3), *daily(4))), "one limit for each window"),
        (override(limits=daily(-1)), "0 to 2\\^53 - 1"),
        (override(limits=daily(MAX_UNITS + 1)), "0 to 2\\^53 - 1"),
        (override(limits=daily(1, code="my cap")), "upper-case word"),
        (override(limits=daily(1, status=418)), "402, 403 or 429"),
        (override(expires_at=AT), "ended already"),
    ],
)
async def test_a_promise_that_its_feature_does_not_understand_is_refused(
    store: Store, promised: OverrideFacts, told: str
) -> None:
    await store.customer("acme", AT)
    with pytest.raises((InvalidInput, UnknownFeature), match=told):
        await promise(store, promised)
    assert await held(store) == []
    assert (await store.customers.get("acme")).version == 1


@pytest.mark.parametrize("reason", ["", "  ", "r" * 1001, "a\x00b"])
async def test_a_promise_without_a_reason_is_refused(store: Store, reason: str) -> None:
    await store.customer("acme", AT)
    with pytest.raises(InvalidInput, match="Say why"):
        await promise(store, override(), reason)
    assert await held(store) == []


async def test_nothing_is_promised_to_nobody(store: Store) -> None:
    with pytest.raises(UnknownCustomer):
        await promise(store, override())


async def test_promises_at_once_all_count_and_one_of_them_stands(store: Store) -> None:
    acme = await store.customer("acme", AT)
    made = [override(limits=daily(n)) for n in range(1, 11)]
    made += [override(POSTS, limits=monthly(n)) for n in range(1, 11)]
    await asyncio.gather(*(promise(store, promised) for promised in made))
    kept = await held(store)
    assert {promised.feature for promised in kept} == {ANALYSES, POSTS}
    assert all(promised in made for promised in kept)
    row = await store.row(acme.id)
    assert row["version"] == row["published_version"] == 21
    assert await store.told_version("acme") == 21
    acts = await audit.list_(store.database, customer_id=acme.id)
    assert sum(act.action == "override.set" for act in acts) == 20
