"""WH-12: an event of another API version is read again at ours, or parked with what to do."""

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.reconciling import paired
from tests.support.stripe_events import Life


async def test_with_a_key_the_object_is_read_at_our_version(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.world.events.version = "2020-08-27"
        held = await pair.subscribe("acme")
        await pair.hear()
        assert await pair.desk.plan("acme") == "starter"
        await pair.cancel(held)
        await pair.hear()
        assert await pair.desk.plan("acme") == "free"


async def test_without_a_key_it_is_parked_at_once_with_what_to_do(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paying(database_url, redis_url, clock, reads=False) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        told = life.created("active") | {"api_version": "2020-08-27"}
        await books.tell(told)
        seen = await books.event(told)
        assert (seen["state"], seen["problem"]) == ("PARKED", "other_version")
        assert "Set the endpoint to that version" in seen["error"]
        assert await books.plan() == "free"
