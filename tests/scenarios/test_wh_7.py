"""WH-7: the endpoint was down for hours.

On start, and on a schedule, events since the last one seen are fetched from Stripe and applied.
"""

from datetime import timedelta

import pytest

from api.billing.catch_up import CatchUp
from api.billing.stripe_events import StripeEvents
from api.catalog import alerts
from api.domain.errors import InvalidInput, Unavailable
from tests.support.clock import FakeClock
from tests.support.reconciling import PRICES, Pair, paired


def catching(pair: Pair) -> CatchUp:
    """Build what a process starts with."""
    listed = StripeEvents(pair.desk.door.api)
    return CatchUp(pair.desk.core.database, pair.desk.inbox, listed)


async def kinds(pair: Pair) -> list[str]:
    return [one.kind for one in await alerts.list_(pair.desk.core.database)]


async def test_what_came_while_the_endpoint_was_down_is_fetched_on_start_and_on_schedule(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, customers=("acme", "globex")) as pair:
        pair.stripe.webhooks.on = False
        await pair.subscribe("acme")
        clock.advance(hours=5)
        assert await pair.desk.plan("acme") == "free"

        schedule = catching(pair)
        missed = await schedule.turn(clock.now())
        assert missed > 0
        await pair.desk.work()
        assert await pair.desk.plan("acme") == "starter"
        assert await kinds(pair) == ["webhooks_missed"]

        # Before its time nothing is asked; at its time what came since is found, and only that.
        await pair.subscribe("globex", "pro_monthly")
        clock.advance(minutes=9)
        assert await schedule.turn(clock.now()) == 0
        clock.advance(minutes=1)
        assert await schedule.turn(clock.now()) > 0
        await pair.desk.work()
        assert await pair.desk.plan("globex") == "pro"

        # Another process that starts looks at once, and finds nothing that is new.
        assert await catching(pair).turn(clock.now()) == 0


async def test_an_event_that_was_delivered_is_not_taken_twice(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        await pair.subscribe("acme")
        await pair.hear()
        before = await pair.desk.count("webhook_events")
        assert await catching(pair).turn(clock.now()) == 0
        assert await pair.desk.count("webhook_events") == before
        assert await kinds(pair) == []


async def test_a_pass_that_is_cut_off_is_repeated_whole(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.webhooks.on = False
        await pair.subscribe("acme")
        schedule = catching(pair)
        pair.stripe.faults.outage = True
        with pytest.raises(Unavailable):
            await schedule.turn(clock.now())
        assert await pair.desk.count("provider_cursors") == 0
        pair.stripe.faults.clear()
        assert await schedule.turn(clock.now()) > 0
        await pair.desk.work()
        assert await pair.desk.plan("acme") == "starter"


async def test_an_operator_catches_up_since_an_instant_on_record(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        catch_up, began = catching(pair), clock.now()
        pair.stripe.webhooks.on = False
        await pair.subscribe("acme")
        clock.advance(hours=3)

        async def since(hours: int) -> int:
            found = await catch_up.since(
                began + timedelta(hours=hours), actor="ann", reason="it was down", at=clock.now()
            )
            return found.missed

        assert await since(1) == 0
        assert await since(0) > 0
        with pytest.raises(InvalidInput):
            await since(4)
        acts = await pair.desk.core.database.fetch(
            "select actor, reason from audit_log where action = 'webhooks.catch_up'"
        )
        assert {(act["actor"], act["reason"]) for act in acts} == {("ann", "it was down")}


async def test_beyond_thirty_days_a_person_is_told_to_reconcile(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        assert await catching(pair).turn(clock.now()) == len(PRICES)  # those were made
        clock.advance(days=31)
        await catching(pair).turn(clock.now())
        found = await alerts.list_(pair.desk.core.database, kind="webhooks_beyond_reach")
        assert ["headroom sync all" in one.message for one in found] == [True]


async def test_an_operator_s_late_beginning_takes_nothing_from_the_first_pass(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as pair:
        pair.stripe.webhooks.on = False
        await pair.subscribe("acme")
        clock.advance(hours=5)
        catch_up, last_hour = catching(pair), clock.now() - timedelta(hours=1)
        found = await catch_up.since(last_hour, actor="ann", reason="it was down", at=clock.now())
        assert found.missed == 0
        assert await pair.desk.count("provider_cursors") == 0
        assert await catch_up.turn(clock.now()) > 0
        await pair.desk.work()
        assert await pair.desk.plan("acme") == "starter"
