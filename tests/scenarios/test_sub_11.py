"""SUB-11: a trial starts, is about to end, and has ended: then paid, or free.

The reminder itself belongs to the issue of notices; its event is taken and has the object read.
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.paying import paying
from tests.support.stripe_events import Json, Life


def paid(life: Life) -> Json:
    return life.became("active")


def without_a_card(life: Life) -> Json:
    return life.paused()


def not_wanted(life: Life) -> Json:
    return life.deleted()


@pytest.mark.parametrize(
    ("ending", "plan"), [(paid, "starter"), (without_a_card, "free"), (not_wanted, "free")]
)
@pytest.mark.parametrize("reads", [True, False], ids=["with a key", "without a key"])
async def test_a_trial_has_the_limits_of_its_plan_and_then_what_was_decided(
    database_url: str, redis_url: str, clock: FakeClock, ending: object, plan: str, *, reads: bool
) -> None:
    assert callable(ending)
    async with paying(database_url, redis_url, clock, reads=reads) as books:
        life = Life("acme", clock.now(), named=True, prices={"starter": 1})
        await books.tell(life.trial(days=14), life=life)
        [held] = (await books.customer())["subscriptions"]
        assert held["status"] == "TRIALING"
        assert held["trialEndsAt"] == "2026-03-24T10:00:00Z"
        assert await books.limit("tx_post") == 300

        clock.advance(days=11)
        reminder = life.later(days=11).trial_will_end()
        await books.tell(reminder, life=life)
        assert (await books.event(reminder))["state"] == "APPLIED"
        assert await books.plan() == "starter"

        clock.advance(days=3)
        await books.tell(ending(life.later(days=3)), life=life)
        assert await books.plan() == plan
