"""WH-8: no event for thirty minutes in business hours is an alert.

The time of the last event is shown.
"""

from datetime import UTC, datetime

from api.billing.watch import BusinessHours, Watch
from api.billing.webhook_report import webhook_report
from api.catalog import alerts
from tests.support.billing import Desk, desk
from tests.support.clock import FakeClock
from tests.support.stripe_events import Life


def watching(open_desk: Desk) -> Watch:
    return Watch(open_desk.core.database, "stripe", BusinessHours("Europe/Berlin"))


async def hear(open_desk: Desk, key: str = "acme") -> None:
    now = open_desk.clock.now()
    await open_desk.deliver(Life(key, now, named=True, prices={}).created("active"))


async def test_silence_is_told_once_and_again_only_after_an_event(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with desk(database_url, redis_url, clock) as open_desk:
        watch = watching(open_desk)
        clock.advance(hours=1)
        assert not await watch.silence(clock.now()), "nothing was ever connected"

        await hear(open_desk)
        last = clock.now()
        clock.advance(minutes=29)
        assert not await watch.silence(clock.now())
        clock.advance(minutes=1)
        assert await watch.silence(clock.now())
        clock.advance(minutes=40)
        assert not await watch.silence(clock.now())
        [one] = await alerts.list_(open_desk.core.database)
        assert (one.kind, one.period.astimezone(UTC)) == ("webhook_silence", last)
        report = await webhook_report(open_desk.core.database, "stripe", minutes=60, at=clock.now())
        assert report.last_event_at == last

        await hear(open_desk, "globex")
        clock.advance(minutes=30)
        assert await watch.silence(clock.now())


async def test_nights_and_weekends_may_be_silent(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with desk(database_url, redis_url, clock) as open_desk:
        watch = watching(open_desk)
        await hear(open_desk)
        seen = [
            (told, await watch.silence(datetime(2026, 3, day, hour, minute, tzinfo=UTC)))
            for told, day, hour, minute in (
                ("in the evening", 10, 16, 0),
                ("at night", 11, 2, 0),
                ("just after the hours began, 9:00 in Berlin", 11, 8, 29),
                ("half an hour into them", 11, 8, 30),
                ("on Saturday", 14, 10, 0),
                ("on Monday morning", 16, 10, 0),
            )
        ]
        assert [told for told, raised in seen if raised] == [
            "half an hour into them",
            "on Monday morning",
        ]
