"""Ending what is one too many: only where the provider itself shows it, and only so many."""

from typing import Any

import pytest

from api.catalog.file import parse
from tests.support.billing import CATALOG, SEVERAL
from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired

DUPLICATE = "duplicate_subscription"
HELD = (f"{DUPLICATE}.held", "critical")
UNCLEAR = (f"{DUPLICATE}.unclear", "critical")


async def settle(both: Pair, turns: int = 4) -> None:
    """Let the time pass that two may stand side by side, and the turns after it be taken."""
    await both.act()
    both.desk.clock.advance(minutes=15)
    for _ in range(turns):
        await both.act()
        both.desk.clock.advance(minutes=10)


def status(both: Pair, name: str) -> str:
    return str(both.stripe.get(name)["status"])


async def ends_with_its_period(both: Pair, name: str) -> None:
    api = both.desk.door.api
    await api.ask(api.v1.subscriptions.update_async(name, {"cancel_at_period_end": True}))


async def twice(both: Pair) -> tuple[str, str]:
    first = await both.subscribe("acme")
    await both.hear()
    both.desk.clock.advance(days=1)
    second = await both.subscribe("acme")
    await both.hear()
    return first, second


async def by_a_person(both: Pair, how: str, number: int = 0) -> None:
    item = (await both.queue.list_())[number]["id"]
    ask = both.queue.retry if how == "retry" else both.queue.resolve
    await ask(item, actor="local:op", reason="they pay for two teams", at=both.desk.clock.now())


async def test_what_ends_with_its_period_is_left_beside_its_successor(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        old = await both.subscribe("acme")
        await both.hear()
        await ends_with_its_period(both, old)
        both.desk.clock.advance(days=20)
        new = await both.subscribe("acme", "pro_monthly")
        await both.hear()
        await settle(both)
        assert await both.items() == []
        both.stripe.advance(days=12)
        await both.hear()
        assert (status(both, old), status(both, new)) == ("canceled", "active")


async def test_what_the_customer_pays_for_is_not_ended_for_a_higher_plan_that_is_paused(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        named = {"headroom_customer": "acme"}
        both.customers["acme"] = both.stripe.customer(metadata=named, card=None)
        trial: Any = {"end_behavior": {"missing_payment_method": "pause"}}
        old = await both.subscribe("acme", "pro_monthly", trial_period_days=7, trial_settings=trial)
        await both.hear()
        both.stripe.advance(days=8)
        await both.hear()
        both.stripe.use_card(both.customers["acme"], "ok")
        new = await both.subscribe("acme")
        await both.hear()
        await settle(both)
        assert (status(both, old), status(both, new)) == ("canceled", "active")
        assert await both.desk.plan("acme") == "starter"


@pytest.mark.parametrize("late", [False, True], ids=["heard", "invoice heard late"])
async def test_of_two_plans_that_are_paid_a_person_decides_and_hears_of_it(
    database_url: str, redis_url: str, clock: FakeClock, *, late: bool
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        first = await both.subscribe("acme")
        await both.hear()
        second = await both.subscribe("acme", "pro_monthly")
        if late:
            both.stripe.webhooks.drop("invoice.*")
        await both.hear()
        await settle(both)
        assert (status(both, first), status(both, second)) == ("active", "active")
        *_, item = await both.items()
        assert (item[0], item[2]) == (DUPLICATE, "given_up")
        assert (await both.alerts()).count(UNCLEAR) == 1
        await both.cancel(first if item[1] == second else second)
        await both.hear()
        await both.act()
        row, *_ = await both.queue.list_()
        assert (row["state"], row["resolution"]) == ("resolved", "It is no duplicate any more.")


async def test_whoever_swaps_one_for_another_is_left_to_it(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        first, second = await twice(both)
        await both.act()
        both.desk.clock.advance(minutes=14)
        assert await both.act() == 0
        await both.cancel(first)
        await both.hear()
        both.desk.clock.advance(minutes=2)
        await settle(both)
        assert (status(both, first), status(both, second)) == ("canceled", "active")
        assert await both.items() == [(DUPLICATE, second, "resolved")]


async def test_what_the_record_did_not_hear_is_read_before_anything_is_ended(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    """The older one is unpaid at the provider, and active here: the paid one has to stay."""
    async with paired(database_url, redis_url, clock) as both:
        both.stripe.world.after_retries = "unpaid"
        old = await both.subscribe("acme")
        await both.hear()
        both.stripe.advance(days=40)
        await both.hear()
        both.stripe.payments.fail_always(both.customers["acme"])
        both.stripe.advance(days=40)
        both.stripe.webhooks.drop("*")
        both.stripe.payments.heal(both.customers["acme"])
        new = await both.subscribe("acme")
        await both.hear()
        assert [one.status.value for one in await both.desk.held("acme")] == ["active", "active"]
        await settle(both)
        assert (status(both, old), status(both, new)) == ("canceled", "active")


async def test_one_that_only_the_provider_knows_is_read_before_anything_is_ended(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        first, second = await twice(both)
        await both.act()
        third = await both.subscribe("acme")
        both.stripe.webhooks.drop("*")
        both.desk.clock.advance(minutes=15)
        assert await both.act() == 1
        assert {status(both, one) for one in (first, second, third)} == {"active"}
        assert len(await both.desk.held("acme")) == 3
        await settle(both)
        assert [status(both, one) for one in (first, second, third)] == [
            "active",
            "canceled",
            "canceled",
        ]


async def test_what_a_person_resolved_is_never_queued_nor_ended_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        first, second = await twice(both)
        await both.act()
        await by_a_person(both, "resolve")
        await settle(both)
        both.desk.clock.advance(days=3)
        await settle(both)
        assert await both.items() == [(DUPLICATE, second, "resolved")]
        assert (status(both, first), status(both, second)) == ("active", "active")
        third = await both.subscribe("acme")
        await both.hear()
        await settle(both)
        assert (await both.items())[1:] == [(DUPLICATE, third, "resolved")]
        assert [status(both, one) for one in (first, second, third)] == [
            "active",
            "active",
            "canceled",
        ]


async def test_so_many_are_ended_an_hour_and_the_others_wait_for_a_person(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    """A catalog that takes plans side by side away ends what five customers have at most."""
    names = tuple(f"c{number}" for number in range(8))
    async with paired(database_url, redis_url, clock, catalog=SEVERAL, customers=names) as both:
        both.stripe.world.after_retries = "past_due"
        for name in names:
            await both.subscribe(name)
            await both.hear()
            await both.subscribe(name, "pro_monthly", trial_period_days=20)
        await both.hear()
        await settle(both)
        assert await both.items() == []
        await both.desk.core.revisions.apply(
            parse(CATALOG, "c.toml"), at=both.desk.clock.now(), actor="local:op", reason="oops"
        )
        await settle(both)

        def ended() -> int:
            return sum(one["status"] == "canceled" for one in both.stripe.all("subscription"))

        assert ended() == 5
        both.desk.clock.advance(hours=3)
        await settle(both)
        assert ended() == 5
        states = [state for _, _, state in await both.items()]
        assert sorted(states) == ["given_up"] * 3 + ["resolved"] * 5
        assert (await both.alerts()).count(HELD) == 1
        held = [number for number, state in enumerate(states[::-1]) if state == "given_up"]
        await by_a_person(both, "retry", held[0])
        await settle(both)
        assert ended() == 6
        await both.desk.core.revisions.apply(
            parse(SEVERAL, "c.toml"), at=both.desk.clock.now(), actor="local:op", reason="back"
        )
        await both.act()
        assert {state for _, _, state in await both.items()} == {"resolved"}


async def test_a_failure_of_stripe_s_own_delays_by_one_attempt_only(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        _, second = await twice(both)
        both.stripe.faults.fail_next(1, status=500, method="DELETE")
        await settle(both, turns=1)
        assert status(both, second) == "active"
        await both.act()
        assert status(both, second) == "canceled"
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert await both.items() == [(DUPLICATE, second, "resolved")]


async def test_what_is_not_right_yet_is_looked_at_less_and_less_often(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        both.customers["stranger"] = both.stripe.customer()
        await both.subscribe("stranger")
        both.stripe.webhooks.drop("*")
        await both.sync()
        waits = []
        for _ in range(4):
            await both.act()
            row: Any = (await both.queue.list_())[0]
            waits.append((row["next_attempt_at"] - both.desk.clock.now()).seconds // 60)
            both.desk.clock.set(row["next_attempt_at"])
        assert waits == [1, 2, 4, 8]


async def test_one_of_nobody_that_a_person_resolved_is_not_found_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        both.customers["stranger"] = both.stripe.customer()
        sub = await both.subscribe("stranger")
        both.stripe.webhooks.drop("*")
        await both.sync()
        await by_a_person(both, "resolve")
        both.desk.clock.advance(days=1)
        await both.sync()
        assert await both.items() == [("unknown_subscription", sub, "resolved")]
