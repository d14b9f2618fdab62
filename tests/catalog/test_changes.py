import asyncio
from datetime import datetime, timedelta
from functools import partial

import pytest

from api.catalog import overrides, subscriptions
from api.catalog.customers import Customer
from api.catalog.overrides import OverrideRecord
from api.catalog.stored_form import as_told, values_of
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import WindowKind
from api.domain.entitlements import SubscriptionStatus
from api.domain.errors import UnknownCustomer
from api.domain.snapshot import slot_name
from api.domain.windows import Window
from api.infra.packing import unpack
from api.infra.postgres import Connection
from tests.catalog.conftest import Store
from tests.support.builders import (
    ANALYSES,
    BILLING,
    POSTS,
    catalog,
    instant,
    monthly,
    override,
    plan,
)

AT = instant("2026-03-10 10:00")
DAY = WindowKind.DAY
MONTH = WindowKind.MONTH

WAITED_FOR = "select exists (select from pg_locks where not granted)"

BILLED = catalog(
    plans=[
        plan("free", posts=monthly(10, anchor=BILLING)),
        plan("starter", rank=1, posts=monthly(300, anchor=BILLING)),
        plan("pro", rank=2, posts=monthly(3000)),
    ]
)


def window(begins: str, ends: str) -> Window:
    return Window(instant(begins), instant(ends))


async def subscribe(
    store: Store,
    customer: Customer,
    at: datetime,
    plan_key: str = "starter",
    **changed: object,
) -> None:
    """Write an active subscription that is anchored at the instant, changed by name."""
    record = SubscriptionRecord(
        customer_id=customer.id,
        provider="test",
        provider_id=str(changed.pop("provider_id", "sub_1")),
        status=SubscriptionStatus.ACTIVE,
        plan=plan_key,
        price=f"{plan_key}_monthly",
        billing_anchor=at,
    )
    for name, value in changed.items():
        object.__setattr__(record, name, value)

    async def write(conn: Connection) -> None:
        await subscriptions.upsert(conn, record, at)

    await store.changes.change(customer.id, at, write)


async def plan_of(store: Store, customer: Customer, at: datetime) -> str:
    return (await store.customers.entitled([customer.id], at))[customer.id].entitlements.plan


async def bounds_told(store: Store, key: str, feature: str, kind: WindowKind) -> list[int]:
    """Return the boundaries of one window in the snapshot that the counter store has."""
    number = store.revisions.newest.feature_ids[feature]
    _, *values = values_of(as_told((await store.snapshot(key))[str(number)]))
    slot = slot_name(number, kind.code, 0).encode()
    (bounds,) = [values[p + 6] for p in range(0, len(values), 7) if values[p] == slot]
    assert isinstance(bounds, bytes)
    return [int(str(one)) for one in values_of(bounds)]


# Windows that run on


async def test_a_zone_moved_pins_the_present_day_in_record_and_snapshot(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await store.customer("acme", AT, timezone="Asia/Tokyo")
    assert (await store.pins(acme.id))[ANALYSES, DAY] == window("2026-03-10", "2026-03-11 15:00")
    told = await bounds_told(store, "acme", ANALYSES, DAY)
    assert told[:3] == [
        instant("2026-03-10").timestamp(),
        instant("2026-03-11 15:00").timestamp(),
        instant("2026-03-12 15:00").timestamp(),
    ]


async def test_zones_moved_several_times_in_a_day_give_no_fresh_day(store: Store) -> None:
    acme = await store.customer("acme", AT)
    end = instant("2026-03-11")
    for minute, zone in enumerate(["Asia/Tokyo", "Pacific/Honolulu", "Asia/Kathmandu", "UTC"]):
        at = AT + timedelta(minutes=minute)
        await store.customer("acme", at, timezone=zone)
        pin = (await store.pins(acme.id))[ANALYSES, DAY]
        assert pin.starts_at == instant("2026-03-10")
        assert pin.ends_at is not None
        assert pin.ends_at >= end
        end = pin.ends_at


async def test_a_new_subscription_that_moves_the_anchor_keeps_the_month_running(
    store: Store,
) -> None:
    await store.apply(BILLED, AT)
    acme = await store.customer("acme", instant("2026-03-05 09:00"))
    await subscribe(store, acme, instant("2026-03-20 12:00"))
    assert await store.pins(acme.id) == {
        (POSTS, MONTH): window("2026-03-05 09:00", "2026-04-20 12:00")
    }
    assert await plan_of(store, acme, instant("2026-03-20 12:00")) == "starter"


async def test_a_plan_that_switches_the_window_to_the_calendar_keeps_it_running(
    store: Store,
) -> None:
    await store.apply(BILLED, AT)
    acme = await store.customer("acme", instant("2026-03-05 09:00"))
    await subscribe(store, acme, instant("2026-03-20 12:00"), "pro")
    assert (await store.pins(acme.id))[POSTS, MONTH] == window("2026-03-05 09:00", "2026-05-01")


async def test_a_subscription_that_ended_silently_is_lived_through_before_the_next_change(
    store: Store,
) -> None:
    await store.apply(BILLED, AT)
    acme = await store.customer("acme", instant("2026-03-05"))
    ends = instant("2026-03-20")
    await subscribe(
        store, acme, instant("2026-03-05"), billing_anchor=instant("2026-03-02"), ends_at=ends
    )
    # [5 March, 5 April) under the first anchor runs on to 2 May, and when the subscription has
    # ended to 5 May.
    assert (await store.pins(acme.id))[POSTS, MONTH] == window("2026-03-05", "2026-05-02")
    await store.customer("acme", instant("2026-03-25"), type="person")
    assert (await store.pins(acme.id))[POSTS, MONTH] == window("2026-03-05", "2026-05-05")
    assert (await store.row(acme.id))["valid_until"] is None


async def test_asking_for_a_snapshot_lives_through_what_ended_silently(store: Store) -> None:
    await store.apply(BILLED, AT)
    acme = await store.customer("acme", instant("2026-03-05"))
    ends = instant("2026-03-20")
    await subscribe(
        store, acme, instant("2026-03-10"), billing_anchor=instant("2026-03-02"), ends_at=ends
    )
    before = (await store.row(acme.id))["version"]
    assert (await store.row(acme.id))["valid_until"] == ends
    await store.changes.publish(acme.id, ends)
    assert (await store.row(acme.id))["version"] == before + 1
    assert await store.told_version("acme") == before + 1
    assert (await store.pins(acme.id))[POSTS, MONTH].ends_at == instant("2026-05-05")
    assert unpack((await store.snapshot("acme"))["x"])[1] == "free"
    # Once lived through, it is not lived through again.
    await store.changes.publish(acme.id, ends + timedelta(seconds=1))
    assert (await store.row(acme.id))["version"] == before + 1


async def test_a_worker_lives_through_what_ended_silently(store: Store) -> None:
    acme = await store.customer("acme", AT)
    ends = instant("2026-03-20")
    await subscribe(store, acme, AT, ends_at=ends)
    version = (await store.row(acme.id))["version"]
    assert await store.changes.publish_pending(ends - timedelta(seconds=1)) == 0
    assert await store.changes.publish_pending(ends) == 1
    assert await store.told_version("acme") == version + 1


async def test_a_pin_that_has_ended_leaves_with_the_next_change(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await store.customer("acme", AT, timezone="Asia/Tokyo")
    assert (ANALYSES, DAY) in await store.pins(acme.id)
    await store.customer("acme", instant("2026-03-14"), type="person")
    assert set(await store.pins(acme.id)) == {(POSTS, MONTH)}


# One transaction


async def test_a_change_that_fails_leaves_everything_as_it_was(store: Store) -> None:
    acme = await store.customer("acme", AT)
    before = dict(await store.row(acme.id))

    async def fail(conn: Connection) -> None:
        await conn.execute("update customers set timezone = 'Asia/Tokyo' where id = $1", acme.id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.changes.change(acme.id, AT, fail)
    assert dict(await store.row(acme.id)) == before
    assert await store.pins(acme.id) == {}
    assert await store.told_version("acme") == 1


async def test_a_change_inside_a_larger_transaction_lasts_only_with_it(store: Store) -> None:
    acme = await store.customer("acme", AT)

    async def move(conn: Connection) -> None:
        await conn.execute("update customers set timezone = 'Asia/Tokyo' where id = $1", acme.id)

    async def work() -> None:
        async with store.database.transaction() as conn:
            changed = await store.changes.change_on(conn, acme.id, AT, move)
            assert (changed.changed, changed.version) == (True, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert (await store.row(acme.id))["version"] == 1


async def test_a_change_of_nothing_is_no_new_version(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await subscribe(store, acme, AT)
    version = (await store.row(acme.id))["version"]
    await subscribe(store, acme, AT)
    await subscribe(store, acme, AT, pending_plan="pro")
    assert (await store.row(acme.id))["version"] == version


async def test_nobody_can_be_changed_who_is_not_there(store: Store) -> None:
    async def nothing(_conn: Connection) -> None:
        return

    with pytest.raises(UnknownCustomer):
        await store.changes.change(404, AT, nothing)


async def test_what_changed_is_told_to_the_caller(store: Store) -> None:
    acme = await store.customer("acme", AT)

    async def cancel(conn: Connection) -> None:
        await conn.execute("update subscriptions set status = 'canceled'")

    await subscribe(store, acme, AT)
    changed = await store.changes.change(acme.id, AT, cancel)
    assert (changed.before.plan, changed.after.plan) == ("starter", "free")


async def test_changes_of_one_customer_at_once_are_judged_one_after_the_other(
    store: Store,
) -> None:
    acme = await store.customer("acme", AT)
    await asyncio.gather(
        *(
            subscribe(store, acme, AT, provider_id=f"sub_{n}", add_ons=(("more_seats", 1),))
            for n in range(10)
        )
    )
    row = await store.row(acme.id)
    assert row["version"] == row["published_version"] == 11
    assert await store.told_version("acme") == 11


async def test_a_change_waits_for_the_one_before_it_and_judges_what_that_left(
    store: Store,
) -> None:
    acme = await store.customer("acme", AT)
    first = override(ANALYSES, expires_at=instant("2026-03-15"))
    second = override(POSTS, limits=monthly(99), expires_at=instant("2026-03-20"))
    promised = partial(overrides.put, record=OverrideRecord(acme.id, first, "why", "ada", AT))
    async with store.database.transaction() as conn:
        await store.changes.change_on(conn, acme.id, AT, promised)
        waiting = asyncio.create_task(
            store.changes.set_override("acme", second, at=AT, actor="ada", reason="a race")
        )
        async with asyncio.timeout(30):
            while not await store.database.fetchval(WAITED_FOR):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.002)
    await waiting
    row = await store.row(acme.id)
    assert (row["version"], row["valid_until"]) == (3, instant("2026-03-15"))


# Subscriptions as they are kept


async def test_a_subscription_comes_back_as_it_was_written(store: Store) -> None:
    acme = await store.customer("acme", AT)
    record = SubscriptionRecord(
        customer_id=acme.id,
        provider="test",
        provider_id="sub_9",
        status=SubscriptionStatus.TRIALING,
        plan="pro",
        price="pro_yearly",
        pending_plan="starter",
        add_ons=(("more_seats", 2), ("more_posts", 1)),
        current_period_start=AT,
        current_period_end=instant("2027-03-10"),
        billing_anchor=AT,
        trial_ends_at=instant("2026-03-24"),
        cancel_at_period_end=True,
        ends_at=instant("2027-03-10"),
        provider_created_at=AT,
        provider_event_id="evt_1",
    )
    async with store.database.transaction() as conn:
        number = await subscriptions.upsert(conn, record, AT)
        assert await subscriptions.upsert(conn, record, instant("2026-03-11")) == number
        found = await subscriptions.find(conn, "test", "sub_9")
        assert found is not None
        assert found.id == number
        assert await subscriptions.find(conn, "other", "sub_9") is None
        assert await subscriptions.by_customer(conn, acme.id) == (found,)
        assert await subscriptions.many(conn, [number, 99]) == {number: found}
    object.__setattr__(record, "id", number)
    assert found == record
