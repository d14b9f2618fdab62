"""The budget of requests, on a clock that its own sleeps move."""

import asyncio
from dataclasses import dataclass, field

import pytest

from api.billing.budget import Budget
from api.billing.problems import Throttled
from api.billing.stripe_api import StripeApi
from tests.stripe_sim import simulated_stripe
from tests.support.clock import FakeClock


@dataclass
class Hours:
    """Seconds that pass only where somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _budget(hours: Hours, per_second: float = 10, share: float = 0.5) -> Budget:
    return Budget(per_second, share, clock=hours.read, sleep=hours.sleep)


async def test_a_second_of_requests_may_come_at_once_and_then_so_many_a_second() -> None:
    hours = Hours()
    budget = _budget(hours)
    for _ in range(10):
        await budget.take()
    assert hours.now == 0
    for _ in range(20):
        await budget.take()
    assert hours.now == pytest.approx(2)


async def test_background_work_takes_its_share_and_leaves_the_rest() -> None:
    hours = Hours()
    budget = _budget(hours)
    for _ in range(55):
        await budget.take(background=True)
    assert hours.now == pytest.approx(10)
    assert hours.now < 55 / 4
    waited = len(hours.slept)
    for _ in range(5):
        await budget.take()
    assert len(hours.slept) == waited


async def test_a_refusal_with_a_time_to_wait_holds_everything_back_that_long() -> None:
    hours = Hours()
    budget = _budget(hours)
    budget.pause(30)
    with pytest.raises(Throttled) as refused:
        await budget.take()
    assert refused.value.retry_after_seconds == 31
    await budget.take(background=True)
    assert hours.slept == [30]
    await budget.take()
    assert hours.now == 30


async def test_many_at_once_never_pass_the_rate() -> None:
    times: list[float] = []
    hours = Hours()

    async def stand_still(seconds: float) -> None:
        times.append(seconds)

    budget = Budget(10, 0.5, clock=hours.read, sleep=stand_still)
    await asyncio.gather(*(budget.take(background=True) for _ in range(25)))
    assert times == pytest.approx([n / 5 for n in range(1, 21)])


async def test_pages_refused_for_their_number_are_asked_again_when_stripe_said(
    clock: FakeClock,
) -> None:
    hours = Hours()
    async with simulated_stripe(clock) as stripe:
        for _ in range(3):
            stripe.customer()
        stripe.faults.fail_next(2, status=429, path="/v1/customers", retry_after=7)
        api = StripeApi(stripe.key, stripe.address, budget=_budget(hours))
        found = await api.background.pages("customers")
        assert len(found) == 3
        assert hours.slept == [7, 7]
        stripe.faults.fail_next(1, status=429, path="/v1/customers", retry_after=7)
        with pytest.raises(Throttled):
            await api.pages("customers")
        await api.close()
