import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import pytest

from api.catalog import subscriptions
from api.catalog.publisher import Publisher, takes
from api.catalog.stored_form import as_told, meaning, pack_feature
from api.domain import keys
from api.domain.entitlements import OverrideFacts
from api.domain.errors import Unavailable, UnknownCustomer
from api.domain.snapshot import build
from api.infra.lua import Script
from api.infra.packing import pack, unpack
from api.infra.postgres import Connection, Database
from api.infra.redis import RedisDoor
from tests.catalog.conftest import Store, store_on
from tests.support.builders import (
    ANALYSES,
    EXPORT,
    POSTS,
    SEATS,
    catalog,
    daily,
    instant,
    monthly,
    override,
    plan,
)

AT = instant("2026-03-10 10:00")
SHARD = keys.shard_of("acme")
SNAPSHOT = keys.snapshot(SHARD, "acme")
COUNTERS = keys.counters(SHARD, "acme")
PUBLISH = Script.load(subscriptions.__file__, "publish")


class SlowDoor:
    """The real door, at which publications wait until they are let through."""

    def __init__(self, door: RedisDoor) -> None:
        self._door = door
        self.came = asyncio.Event()
        self.may_pass = asyncio.Event()

    async def call(
        self, script: Script, shard: int, keys_: Sequence[str], args: Sequence[Any]
    ) -> Any:  # noqa: ANN401 - as the door's own
        self.came.set()
        await self.may_pass.wait()
        return await self._door.call(script, shard, keys_, args)

    async def renew_epoch(self, shard: int) -> int:
        return await self._door.renew_epoch(shard)


async def publish_by_hand(store: Store, version: int, built_at_s: int, label: str = "") -> int:
    args: list[str | bytes | int] = [version, built_at_s, 0, 0, 1, pack([label, version])]
    reply = unpack(await store.door.call(PUBLISH, SHARD, (SNAPSHOT, COUNTERS), args))
    return int(reply[0])


async def label_told(store: Store) -> list[object]:
    return list(unpack((await store.snapshot("acme"))["x"]))


async def counters(store: Store) -> set[str]:
    return {name.decode() for name in await store.door.command("HKEYS", COUNTERS)}


async def count(store: Store, epoch: int, *slots: str) -> None:
    """Have the counters know these slots."""
    words = [word for slot in slots for word in (slot, pack(0) + pack(7))]
    await store.door.command("HSET", COUNTERS, "_", epoch, "?", "nonce", *words)


async def slots(store: Store, *pairs: tuple[str, int]) -> list[str]:
    ids = store.revisions.newest.feature_ids
    return [f"{ids[feature]}:{code}" for feature, code in pairs]


async def commit_untold(store: Store, customer_id: int, at: datetime = AT) -> None:
    """Change rights as a process does that dies between its commit and the publication."""

    async def move(conn: Connection) -> None:
        await conn.execute(
            "update customers set timezone = 'Asia/Tokyo' where id = $1", customer_id
        )

    async with store.database.transaction() as conn:
        await store.changes.change_on(conn, customer_id, at, move)


# What the counter store is told


async def test_the_snapshot_says_what_the_record_says(store: Store) -> None:
    acme = await store.customer("acme", AT)
    promised = override(EXPORT, limits=(), enabled=False, expires_at=instant("2026-03-20"))
    await store.changes.set_override("acme", promised, at=AT, actor="ada", reason="a test")
    entitled = (await store.customers.entitled([acme.id], AT))[acme.id]
    revision = store.revisions.newest
    expected = build(entitled.held.facts, entitled.entitlements, revision.feature_ids, AT)
    told = await store.snapshot("acme")
    known = ["business", "free", ["free"], [], [EXPORT], 2, revision.number, [], [], "UTC"]
    assert unpack(told["x"]) == known
    features = {int(k): as_told(v) for k, v in told.items() if k not in "mx"}
    assert features == {n: pack_feature(n, feature) for n, feature in expected.features.items()}
    until = int(instant("2026-03-20").timestamp())
    epoch = store.door.epoch(SHARD)
    assert [unpack(part) for part in parts(told["m"])] == [
        epoch,
        2,
        until,
        expected.refresh_at_s,
        acme.id,
        int(AT.timestamp()),
    ]


def parts(packed: bytes) -> list[bytes]:
    """Cut MessagePack integers, which Lua puts one after the other, into single ones."""
    widths = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
    found = []
    while packed:
        width = widths.get(packed[0], 1)
        found.append(packed[:width])
        packed = packed[width:]
    return found


async def test_a_feature_that_is_taken_away_leaves_the_snapshot(store: Store) -> None:
    await store.customer("acme", AT)
    number = str(store.revisions.newest.feature_ids[ANALYSES])
    assert number in await store.snapshot("acme")
    taken = OverrideFacts(ANALYSES, enabled=False)
    await store.changes.set_override("acme", taken, at=AT, actor="ada", reason="a test")
    assert number not in await store.snapshot("acme")


async def test_counters_of_windows_that_are_no_longer_limited_are_forgotten(store: Store) -> None:
    await store.customer("acme", AT)
    day, month, held = await slots(store, (ANALYSES, 2), (POSTS, 4), (SEATS, 7))
    (stale,) = await slots(store, (ANALYSES, 4))
    await count(store, store.door.epoch(SHARD), day, month, held, stale)
    await store.customer("acme", AT, type="person")
    assert await counters(store) == {"_", "?", day, month, held}
    free = plan("free", posts=monthly(10), analyses=monthly(99))
    await store.apply(catalog(plans=[free]), AT)
    await store.changes.walk(AT)
    # What is held stays counted.
    assert await counters(store) == {"_", "?", month, held}


async def test_counters_of_another_epoch_are_forgotten_whole(store: Store) -> None:
    await store.customer("acme", AT)
    (day,) = await slots(store, (ANALYSES, 2))
    await count(store, store.door.epoch(SHARD) - 1, day)
    await store.customer("acme", AT, type="person")
    assert await counters(store) == set()


# Which snapshot is taken


async def test_the_script_takes_what_the_model_takes(store: Store) -> None:
    epoch = await store.door.renew_epoch(SHARD)
    standing: tuple[int, int, int] | None = None
    for version, built in [(5, 50), (4, 60), (5, 50), (5, 49), (5, 51), (6, 10), (5, 99), (7, 9)]:
        given = (epoch, version, built)
        expected = takes(standing, given)
        label = f"{version}/{built}"
        assert await publish_by_hand(store, version, built, label) == int(expected)
        assert ((await label_told(store))[0] == label) == (expected or standing == given)
        standing = given if expected else standing
    # Another epoch is believed whatever its numbers are.
    new_epoch = await store.door.renew_epoch(SHARD)
    assert takes(standing, (new_epoch, 1, 1))
    assert await publish_by_hand(store, 1, 1, "new epoch") == 1
    assert await label_told(store) == ["new epoch", 1]


async def test_an_older_publication_that_comes_late_overwrites_nothing(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await commit_untold(store, acme.id)
    slow = SlowDoor(store.door)
    late = Publisher(store.database, store.revisions, cast("RedisDoor", slow))
    old = asyncio.create_task(late.publish([acme.id], AT))
    await slow.came.wait()
    assert await store.told_version("acme") == 1
    await store.customer("acme", AT, timezone="Europe/Berlin")
    newest = await store.snapshot("acme")
    assert await store.told_version("acme") == 3
    slow.may_pass.set()
    assert {i: s.version for i, s in (await old).snapshots.items()} == {acme.id: 2}
    assert await store.snapshot("acme") == newest
    assert (await store.row(acme.id))["published_version"] == 3


async def test_publishers_that_race_with_changes_end_at_the_newest_version(store: Store) -> None:
    acme = await store.customer("acme", AT)

    async def publish() -> None:
        for _ in range(10):
            await store.changes.publish(acme.id, AT)

    async def change(n: int) -> None:
        for i in range(5):
            promised = override(limits=daily(n * 100 + i))
            await store.changes.set_override("acme", promised, at=AT, actor="a", reason="race")

    await asyncio.gather(publish(), publish(), change(1), change(2))
    row = await store.row(acme.id)
    assert row["version"] == 11
    assert row["published_version"] == 11
    assert await store.told_version("acme") == 11
    number = store.revisions.newest.feature_ids[ANALYSES]
    (promise,) = (await store.customers.many_facts([acme.id]))[acme.id].overrides
    told = meaning(as_told((await store.snapshot("acme"))[str(number)]))
    (limit,) = promise.limits
    assert told[2] == pack(limit.window.code) + pack(limit.units)


# What is left behind is made good


async def test_what_a_crash_left_unpublished_is_published_by_a_worker(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await commit_untold(store, acme.id)
    assert await store.told_version("acme") == 1
    assert (await store.row(acme.id))["published_version"] == 1
    assert await store.changes.publish_pending(AT) == 1
    assert await store.told_version("acme") == 2
    assert (await store.row(acme.id))["published_version"] == 2
    assert await store.changes.publish_pending(AT) == 0


async def test_a_change_stands_although_nobody_can_be_told(
    store: Store, database: Database, redis_url: str
) -> None:
    acme = await store.customer("acme", AT)
    await store.door.close()
    changed = await store.customer("acme", AT, timezone="Asia/Tokyo")
    assert changed.version == 2
    with pytest.raises(Unavailable):
        await store.changes.publish(acme.id, AT)
    async with store_on(database, redis_url) as later:
        await later.changes.publish_pending(AT)
        assert await later.told_version("acme") == 2


async def test_one_that_cannot_be_told_does_not_hold_up_the_others(store: Store) -> None:
    made = [await store.customer(f"c{i}", AT) for i in range(5)]
    for customer in made:
        await commit_untold(store, customer.id)
    # A key of the wrong type stands for whatever makes one customer's script fail.
    shard = keys.shard_of("c2")
    await store.door.command("DEL", keys.snapshot(shard, "c2"))
    await store.door.command("SET", keys.snapshot(shard, "c2"), "not a hash")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await store.changes.publish_pending(AT)
    for key in ("c0", "c1", "c3", "c4"):
        assert await store.told_version(key) == 2
    pending = await store.database.fetch(
        "select key from customers where published_version < version"
    )
    assert [row["key"] for row in pending] == ["c2"]


async def test_a_counter_store_that_lost_everything_is_told_again(store: Store) -> None:
    acme = await store.customer("acme", AT)
    epoch = store.door.epoch(SHARD)
    await store.door.command("FLUSHALL")
    await store.changes.publish(acme.id, AT)
    assert await store.told_version("acme") == 1
    assert store.door.epoch(SHARD) > epoch


async def test_the_snapshot_is_renewed_although_no_version_is_new(store: Store) -> None:
    acme = await store.customer("acme", AT)
    before = await store.snapshot("acme")
    await store.changes.publish(acme.id, instant("2026-03-12"))
    assert (await store.snapshot("acme"))["m"] != before["m"]
    assert await store.told_version("acme") == 1


async def test_nobody_can_be_told_of_who_is_not_there(store: Store) -> None:
    with pytest.raises(UnknownCustomer):
        await store.changes.publish(404, AT)
    assert (await store.publisher.publish([404], AT)).snapshots == {}
    assert (await store.publisher.publish([], AT)).snapshots == {}


async def test_whoever_publishes_gets_what_was_told(store: Store) -> None:
    acme = await store.customer("acme", AT)
    await commit_untold(store, acme.id)
    snapshot = await store.changes.publish(acme.id, AT)
    assert (snapshot.version, snapshot.holding.plan) == (2, "free")
    told = await store.snapshot("acme")
    assert {int(k) for k in told if k not in "mx"} == set(snapshot.features)
