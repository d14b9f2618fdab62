"""WH-2: a burst of signature failures is one alert for each window, with the addresses."""

from api.billing.inbox import Refused
from api.billing.watch import BusinessHours, Watch
from api.catalog import alerts
from tests.support.billing import Desk, desk
from tests.support.clock import FakeClock
from tests.support.stripe_events import Life


async def forge(open_desk: Desk, count: int, remote: str) -> None:
    told = Life("acme", open_desk.clock.now(), prices={}).created("active")
    for _ in range(count):
        refused = await open_desk.deliver(told, secret="whsec_" + "0" * 32, remote=remote)
        assert isinstance(refused, Refused)
    await open_desk.inbox.failures.flush(open_desk.clock.now())


async def test_a_burst_is_one_alert_for_each_window_and_names_the_addresses(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with desk(database_url, redis_url, clock) as open_desk:
        watch = Watch(open_desk.core.database, "stripe", BusinessHours(), burst=10)
        await forge(open_desk, 4, "192.0.2.1")
        await forge(open_desk, 5, "192.0.2.2")
        assert not await watch.burst(clock.now())
        await forge(open_desk, 1, "192.0.2.3")
        assert await watch.burst(clock.now())
        assert not await watch.burst(clock.now())
        [one] = await alerts.list_(open_desk.core.database)
        assert one.detail == {
            "count": 10,
            "addresses": {"192.0.2.2": 5, "192.0.2.1": 4, "192.0.2.3": 1},
        }

        clock.advance(minutes=15)
        assert not await watch.burst(clock.now())
        await forge(open_desk, 10, "192.0.2.1")
        # Seen also when the window has ended before the next look.
        clock.advance(minutes=15)
        assert await watch.burst(clock.now())
        assert len(await alerts.list_(open_desk.core.database)) == 2
