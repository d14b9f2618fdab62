"""USE-7: a client retries.

The same key gives the same answer and counts once; the same key with other contents is an error.
"""

import asyncio

from tests.support.clock import FakeClock
from tests.support.scene import recorded, scene, subscribe, used


async def test_a_retry_under_its_key_gets_the_first_answer_and_counts_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        first = (await books.consume("tx_analyze", 2, key="order-7")).json()
        await books.consume("tx_analyze", 5)
        clock.advance(seconds=30)
        retries = await asyncio.gather(
            *(books.consume("tx_analyze", 2, key="order-7") for _ in range(20))
        )
        assert {r.status_code for r in retries} == {200}
        assert all(r.json() == {**first, "replayed": True} for r in retries)
        assert await used(books.core, "tx_analyze", clock.now()) == [7]
        await books.core.drainer.drain(range(256))
        assert await recorded(books.core, "tx_analyze") == 7


async def test_a_key_with_other_contents_is_refused_and_changes_nothing(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.consume("tx_analyze", 2, key="order-7")
        for feature, units in (("tx_analyze", 3), ("tx_post", 2)):
            refused = await books.consume(feature, units, key="order-7")
            assert (refused.status_code, refused.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        # Another customer's key of the same name is another operation.
        assert (await books.consume("tx_analyze", 3, key="order-7", customer="globex")).is_success
        assert await used(books.core, "tx_analyze", clock.now()) == [2]
        assert await used(books.core, "tx_post", clock.now()) == [0]


async def test_a_denial_is_not_remembered_so_a_retry_after_an_upgrade_passes(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        await subscribe(books.core, "acme", "starter", clock.now())
        await books.consume("tx_post", 300)
        assert (await books.consume("tx_post", key="order-301")).status_code == 402
        await subscribe(books.core, "acme", "pro", clock.now())
        allowed = await books.consume("tx_post", key="order-301")
        assert (allowed.status_code, allowed.json()["replayed"]) == (200, False)
        again = await books.consume("tx_post", key="order-301")
        assert (again.status_code, again.json()["replayed"]) == (200, True)
        assert await used(books.core, "tx_post", clock.now()) == [301]


async def test_the_answer_outlives_the_counter_store_and_ends_with_its_period(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with scene(database_url, redis_url, clock) as books:
        first = (await books.consume("tx_analyze", 2, key="order-7")).json()
        await books.core.drainer.drain(range(256))
        await books.core.door.command("FLUSHALL")
        again = (await books.consume("tx_analyze", 2, key="order-7")).json()
        assert again == {**first, "replayed": True}
        clock.advance(seconds=600)
        anew = (await books.consume("tx_analyze", 2, key="order-7")).json()
        assert not anew["replayed"]
        assert await used(books.core, "tx_analyze", clock.now()) == [4]
