"""An epoch belongs to one run of one server, shard by shard."""

import asyncio

import pytest

from api.domain import keys
from api.domain.errors import Unavailable
from api.gates.outcome import Consumption, Denied
from api.infra.postgres import Database
from api.metering.epochs import Epochs
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.flaky_record import flaky_record
from tests.support.gate import ms, opened

ALL = range(keys.SHARDS)
CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.posts]
name = "Posts"
kind = "metered"
durability = "journaled"

[plans.free]
name = "Free"
[plans.free.features]
posts.day = 10
"""


async def test_a_server_that_takes_over_some_shards_opens_epochs_of_those(
    database: Database,
) -> None:
    epochs = Epochs(database)
    before = await epochs.register("one", ALL)
    assert set(before) == set(ALL)
    assert await epochs.register("one", ALL) == before
    moved = await epochs.register("two", [3, 4])
    assert moved == {3: before[3] + 1, 4: before[4] + 1}
    others = [shard for shard in ALL if shard not in moved]
    assert await epochs.register("one", others) == {s: before[s] for s in others}


async def test_no_epoch_is_used_on_two_servers(database: Database) -> None:
    epochs = Epochs(database)
    (old,) = (await epochs.register("one", [3])).values()
    (new,) = (await epochs.register("two", [3])).values()
    assert await epochs.reopen("one", 3, old) is None
    assert await epochs.reopen("one", 3, new) is None
    assert await epochs.reopen("two", 3, new) == new + 1
    # Who still has the epoch before gets the one that another process opened.
    assert await epochs.reopen("two", 3, new) == new + 1
    assert await epochs.register("one", [3]) == {3: new + 2}


async def test_many_who_meet_new_servers_at_once_open_one_epoch_for_each(
    database: Database,
) -> None:
    first = await Epochs(database).register("old", ALL)
    low, high = range(150), range(100, keys.SHARDS)
    claims = await asyncio.gather(
        *(Epochs(database).register("low", low) for _ in range(4)),
        *(Epochs(database).register("high", high) for _ in range(4)),
    )
    for shard in range(100):
        assert {claim[shard] for claim in claims[:4]} == {first[shard] + 1}
    for shard in range(150, keys.SHARDS):
        assert {claim[shard] for claim in claims[4:]} == {first[shard] + 1}
    for shard in range(100, 150):
        assert not {c[shard] for c in claims[:4]} & {c[shard] for c in claims[4:]}


async def test_without_the_record_only_the_server_registered_last_is_believed(
    database_url: str,
) -> None:
    database = await Database.open(database_url)
    epochs = Epochs(database)
    await epochs.register("one", ALL)
    moved = await epochs.register("two", [3])
    await database.close()
    assert await epochs.register("two", [3]) == moved
    assert set(await epochs.register("one", [4, 5])) == {4, 5}
    with pytest.raises(Unavailable):
        await epochs.register("one", [3, 4])


async def test_a_record_that_hangs_is_as_one_that_cannot_be_reached(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        flaky_record(database_url) as way,
        await Database.open(way.url) as database,
        asyncio.timeout(20),
    ):
        epochs = Epochs(database)
        known = await epochs.register("one", ALL)
        async with way.pause("from shard_epochs"):
            monkeypatch.setattr("api.metering.epochs.PATIENCE_SECONDS", 0.05)
            assert await epochs.register("one", ALL) == known
            with pytest.raises(Unavailable, match="in time"):
                await epochs.register("two", [3])
            monkeypatch.undo()
        assert await epochs.register("two", [3]) == {3: known[3] + 1}


async def test_what_a_server_counts_that_was_replaced_in_the_record_is_asked_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at, shard = ms(clock.now()), keys.shard_of("acme")
    async with opened(database_url, redis_url, clock, CATALOG) as core:
        await core.gate.consume("acme", "posts", 6, None, at)
        epoch = core.door.epoch(shard)
        # Another process believes that a replica has taken over.
        await Epochs(core.database).register("a replica", [shard])
        again = await _asked(core, 3, "k", at)
        assert isinstance(again, Consumption)
        assert core.door.epoch(shard) > epoch + 1
        assert isinstance(await core.gate.consume("acme", "posts", 2, None, at), Denied)
        units = await core.database.fetchval("select sum(units) from usage_totals")
        assert int(units) == 9


async def _asked(core: Core, units: int, key: str, at: int) -> Consumption | Denied:
    """Ask under one key until it is answered: what is refused meanwhile has an open outcome."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await core.gate.consume("acme", "posts", units, key, at)
            except Unavailable:
                await asyncio.sleep(0.01)
