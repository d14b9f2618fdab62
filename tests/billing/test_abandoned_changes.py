"""A change is dropped for its own age: never for that of another one before it."""

from datetime import timedelta

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, change_in_vain, paired, waiting

KIND = "abandoned_change"


def lasts(both: Pair, sub: str) -> None:
    """Let Stripe keep the change for longer than it does."""
    both.stripe.world.store.get("subscription", sub)["pending_update"]["expires_at"] += 30 * 86_400


def waits(both: Pair, sub: str) -> bool:
    return both.stripe.get(sub)["pending_update"] is not None


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
async def test_a_change_is_not_dropped_for_the_age_of_the_one_before_it(
    database_url: str, redis_url: str, clock: FakeClock, *, heard: bool
) -> None:
    """Stripe lets the first go after 23 hours; the second is made when that is 71 hours old."""
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        await both.act()
        both.stripe.advance(hours=30)
        if heard:
            await both.hear()
            await both.act()
            assert await both.items() == [(KIND, sub, "resolved")]
        else:
            both.stripe.webhooks.drop("*")
        both.stripe.advance(hours=41, minutes=30)
        await change_in_vain(both, sub)
        lasts(both, sub)
        made_at = both.desk.clock.now()
        await both.hear()
        for _ in range(4):
            both.stripe.advance(minutes=15)
            await both.act()
        assert waits(both, sub)
        assert (KIND, "warning") not in await both.alerts()
        row = (await both.queue.list_())[0]
        assert row["state"] == "open"
        late = row["next_attempt_at"] - made_at - timedelta(hours=72)
        assert timedelta(0) <= late <= timedelta(minutes=15)
        both.desk.clock.set(row["next_attempt_at"])
        await both.act()
        assert not waits(both, sub)
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert (await both.items())[-1] == (KIND, sub, "resolved")


async def test_an_invoice_of_a_renewal_is_not_voided_for_a_change(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        lasts(both, sub)
        await both.act()
        both.stripe.advance(days=32)
        both.stripe.webhooks.drop("*")
        renewal = both.stripe.get(sub)["latest_invoice"]
        assert both.stripe.get(renewal)["status"] == "open"
        await both.act()
        assert not waits(both, sub)
        assert both.stripe.get(renewal)["status"] == "open"


async def test_what_a_person_resolved_is_final_for_that_change_and_not_for_the_next(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        lasts(both, sub)
        await both.act()
        [row] = await both.queue.list_()
        now = both.desk.clock.now()
        await both.queue.resolve(row["id"], actor="local:op", reason="they pay by bank", at=now)
        both.stripe.advance(hours=80)
        await both.act()
        assert waits(both, sub)
        assert await both.items() == [(KIND, sub, "resolved")]
        invoice = next(i for i in both.stripe.all("invoice") if i["status"] == "open")
        api = both.desk.door.api
        await api.ask(api.v1.invoices.void_invoice_async(invoice["id"]))
        await both.hear()
        await both.act()
        await change_in_vain(both, sub)
        await both.hear()
        await both.act()
        assert await both.items() == [(KIND, sub, "resolved"), (KIND, sub, "open")]


async def test_each_attempt_has_a_key_of_its_own_as_stripe_keeps_its_failures(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        lasts(both, sub)
        await both.act()
        both.stripe.advance(hours=73)
        both.stripe.webhooks.drop("*")
        both.stripe.faults.fail_next(1, status=500, method="POST")
        await both.act()
        assert waits(both, sub)
        [row] = await both.queue.list_()
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert not waits(both, sub)
        voided = next(e for e in both.stripe.events if e["type"] == "invoice.voided")
        assert voided["request"]["idempotency_key"].startswith(f"headroom-abandoned-{row['id']}-2-")
