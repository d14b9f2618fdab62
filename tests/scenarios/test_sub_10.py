"""SUB-10: two live subscriptions for one customer, or one that nobody here knows.

| what happens                        | queue                  | afterwards                    |
|-------------------------------------|------------------------|-------------------------------|
| acme subscribes twice               | duplicate_subscription | the later one ended, verified |
| the process dies after it ended one | acting                 | the next finds it ended       |
| Stripe refuses every time           | given_up, and an alert | retry begins anew             |
| one of nobody whom we know          | unknown_subscription   | known by its customer, or over |
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.support.billing import CATALOG, SEVERAL, with_credits
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired

DUPLICATE = "duplicate_subscription"


async def doubled(both: Pair) -> tuple[str, str]:
    """Let acme subscribe twice, and hear of both."""
    first = await both.subscribe("acme")
    both.desk.clock.advance(minutes=1)
    second = await both.subscribe("acme")
    await both.hear()
    return first, second


async def queued(both: Pair) -> tuple[str, str]:
    """Let acme subscribe twice, which is queued at once, and let the time to settle pass."""
    first, second = await doubled(both)
    assert await both.act() == 0
    assert await both.items() == [(DUPLICATE, second, "open")]
    both.desk.clock.advance(minutes=15)
    return first, second


async def test_the_later_of_two_is_queued_at_once_ended_verified_and_its_credits_leave(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    catalog = with_credits("starter", "units = 100")
    async with paired(database_url, redis_url, clock, catalog=catalog) as both:
        first, second = await queued(both)
        await both.act()
        assert both.stripe.get(second)["status"] == "canceled"
        assert both.stripe.get(first)["status"] == "active"
        assert await both.items() == [(DUPLICATE, second, "open")]
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert await both.items() == [(DUPLICATE, second, "resolved")]
        assert (DUPLICATE, "warning") in await both.alerts()
        assert await both.desk.plan("acme") == "starter"
        assert await both.desk.balance() == 100
        assert (await both.sync()).differing == 0


async def test_who_died_after_ending_it_is_followed_by_somebody_who_ends_nothing_more(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        _, second = await queued(both)
        both.stripe.faults.cut_next(
            path=f"/v1/subscriptions/{second}", method="DELETE", after_effect=True
        )
        await both.queue.run_once(both.desk.clock.now())
        assert both.stripe.get(second)["status"] == "canceled"
        # More than once where the HTTP client sends a DELETE again whose connection was closed.
        asked = both.stripe.faults.asked(f"/v1/subscriptions/{second}", "DELETE")
        for _ in range(3):
            both.desk.clock.advance(minutes=5)
            await both.act()
        assert await both.items() == [(DUPLICATE, second, "resolved")]
        assert both.stripe.faults.asked(f"/v1/subscriptions/{second}", "DELETE") == asked


async def test_two_processes_at_once_and_the_same_event_twice_end_one_subscription_once(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        first, second = await queued(both)
        both.stripe.webhooks.duplicate("*")
        now = both.desk.clock.now()
        await asyncio.gather(both.queue.run_once(now), both.queue.run_once(now), both.sync())
        await both.hear()
        both.desk.clock.advance(minutes=5)
        await both.act()
        assert await both.items() == [(DUPLICATE, second, "resolved")]
        assert both.stripe.faults.asked("/v1/subscriptions/", "DELETE") == 1
        assert both.stripe.get(first)["status"] == "active"


async def test_what_stripe_refuses_again_and_again_is_given_up_loudly_until_retried(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, most_attempts=4) as both:
        _, second = await queued(both)
        both.stripe.faults.fail_next(4, status=429, method="DELETE", retry_after=1)
        waits = []
        row: Any = None
        for _ in range(4):
            await both.act()
            row = (await both.queue.list_())[0]
            waits.append(row["next_attempt_at"] - both.desk.clock.now())
            both.desk.clock.set(max(row["next_attempt_at"], both.desk.clock.now()))
        assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
        assert await both.items() == [(DUPLICATE, second, "given_up")]
        assert (f"{DUPLICATE}.given_up", "critical") in await both.alerts()
        assert await both.act() == 0

        await both.queue.retry(
            row["id"], actor="local:tester", reason="Stripe is back", at=both.desk.clock.now()
        )
        await both.act()
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert await both.items() == [(DUPLICATE, second, "resolved")]


async def test_plans_that_may_be_held_together_are_left_alone(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock, catalog=SEVERAL) as both:
        await both.subscribe("acme")
        await both.subscribe("acme", "pro_monthly")
        await both.hear()
        await both.act()
        assert await both.items() == []


@pytest.mark.parametrize("known_later", [True, False], ids=["known later", "ended"])
async def test_one_of_nobody_whom_we_know_waits_for_a_person(
    database_url: str, redis_url: str, clock: FakeClock, *, known_later: bool
) -> None:
    async with paired(database_url, redis_url, clock, catalog=CATALOG) as both:
        both.customers["stranger"] = both.stripe.customer()
        sub = await both.subscribe("stranger")
        both.stripe.webhooks.drop("*")
        report = await both.sync()
        assert [found.kind.value for found in report.differences] == ["unknown"]
        await both.act()
        assert await both.items() == [("unknown_subscription", sub, "open")]
        if known_later:
            api = both.desk.door.api
            await api.ask(
                api.v1.subscriptions.update_async(sub, {"metadata": {"headroom_customer": "acme"}})
            )
        else:
            await both.cancel(sub)
        for _ in range(3):
            both.desk.clock.advance(minutes=10)
            await both.act()
        assert await both.items() == [("unknown_subscription", sub, "resolved")]
        assert await both.desk.plan("acme") == ("starter" if known_later else "free")
