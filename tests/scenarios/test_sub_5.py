"""SUB-5: an upgrade raises the limits at once and keeps the usage."""

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Life


async def test_an_upgrade_raises_the_limit_at_once_and_keeps_what_was_used(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.created("active"), life=life)
        assert (await books.consume("tx_post", 300)).status_code == 200
        refused = await books.consume("tx_post", key="again")
        assert refused.status_code == 402
        assert "pro" in refused.json()["unlockedBy"]

        clock.advance(days=1)
        upgraded = life.later(days=1).took(pro=1)
        await books.tell(upgraded, life=life)
        # The same operation, refused before, passes now: denials are not remembered.
        allowed = await books.consume("tx_post", key="again")
        assert allowed.status_code == 200
        [window] = allowed.json()["windows"]
        assert (window["used"], window["limit"]) == (301, 3000)


async def test_a_downgrade_lowers_it_as_soon_as_the_provider_says_so(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock) as books:
        life = Life("acme", clock.now(), named=True, prices={"pro": 1})
        await books.tell(life.created("active"), life=life)
        assert (await books.consume("tx_post", 500)).status_code == 200
        await books.tell(life.later(days=1).took(starter=1), life=life)
        refused = await books.consume("tx_post")
        assert refused.status_code == 402
        said = refused.json()
        assert (said["limit"], said["used"], said["remaining"]) == (300, 500, 0)
