"""Events of invoices that were lost are made up for by a comparison.

| what happens                              | here                       | afterwards            |
|-------------------------------------------|----------------------------|-----------------------|
| acme pays a month, `invoice.*` is lost    | not paid, no invoice       | paid until, as billed |
| the next payment fails, `invoice.*` is lost | one invoice              | two, the second open  |
| somebody else's subscription bills        | nothing                    | nothing               |
| a subscription has an unknown price       | its look is parked         | no other look         |
"""

from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import Pair, paired


async def invoices(both: Pair) -> set[tuple[Any, ...]]:
    """Return what the mirror holds."""
    rows = await both.desk.core.database.fetch("select * from invoices")
    names = ("provider_id", "number", "status", "due_minor", "paid_minor", "attempts")
    return {tuple(row[name] for name in names) for row in rows}


def at_stripe(both: Pair) -> set[tuple[Any, ...]]:
    """Return what Stripe holds."""
    names = ("id", "number", "status", "amount_due", "amount_paid", "attempt_count")
    return {tuple(one[name] for name in names) for one in both.stripe.all("invoice")}


async def looks(both: Pair) -> list[str]:
    """Return the states of all looks at invoices."""
    rows = await both.desk.core.database.fetch(
        "select state from webhook_events where type = 'headroom.look.invoice' order by id"
    )
    return [row["state"] for row in rows]


@pytest.mark.parametrize("key", [None, "acme"])
async def test_lost_invoices_and_what_they_paid_for_are_brought_back_by_comparing(
    key: str | None, database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        both.stripe.webhooks.drop("invoice.*")
        await both.hear()
        [held] = await both.desk.held("acme")
        assert (held.paid_until, await invoices(both)) == (None, set())

        dry = await both.sync(key, execute=False)
        await both.desk.work()
        assert (dry.counts["invoices"], dry.counts["invoices_differing"]) == (1, 1)
        assert await invoices(both) == set()

        report = await both.sync(key)
        assert (report.differing, report.counts["invoices_differing"]) == (0, 1)
        await both.desk.work()
        [held] = await both.desk.held("acme")
        assert held.paid_until == held.current_period_end
        assert await invoices(both) == at_stripe(both)

        both.stripe.payments.fail_always()
        both.stripe.advance(days=32)
        both.stripe.webhooks.drop("invoice.*")
        await both.hear()
        assert (await both.sync(key)).counts["invoices_differing"] == 1
        await both.desk.work()
        assert await invoices(both) == at_stripe(both)
        assert {one[2] for one in await invoices(both)} == {"paid", "open"}

        both.stripe.payments.heal()
        both.stripe.advance(days=5)
        both.stripe.webhooks.drop("invoice.*")
        await both.hear()
        assert (await both.sync(key)).counts["invoices_differing"] == 1
        await both.desk.work()
        [held] = await both.desk.held("acme")
        assert held.paid_until == held.current_period_end
        assert await invoices(both) == at_stripe(both)
        assert (await both.sync(key)).counts["invoices_differing"] == 0
        assert len(await looks(both)) == 3


async def test_a_payment_that_does_not_count_for_its_subscription_is_read_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        await both.hear()
        await both.desk.core.database.execute("delete from provider_paid_periods")
        assert (await both.sync()).counts["invoices_differing"] == 1
        await both.desk.work()
        assert await both.desk.count("provider_paid_periods") == 1
        assert (await both.sync()).counts["invoices_differing"] == 0


async def test_one_comparison_brings_back_a_subscription_with_its_invoices(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        # Only its customer's metadata says whose it is.
        await both.subscribe("acme")
        both.stripe.webhooks.drop("*")
        assert (await both.sync()).counts["invoices_differing"] == 1
        await both.desk.work()
        [held] = await both.desk.held("acme")
        assert held.paid_until == held.current_period_end
        assert await invoices(both) == at_stripe(both)


async def test_invoices_of_nobody_and_those_that_wait_for_a_person_are_not_left_again(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        both.customers["stranger"] = both.stripe.customer()
        await both.subscribe("stranger")
        api = both.desk.door.api
        said: Any = {
            "product": (await api.ask(api.v1.products.create_async({"name": "Other"}))).id,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
        }
        both.prices["other"] = (await api.ask(api.v1.prices.create_async(said))).id
        await both.subscribe("acme", "other", metadata={"headroom_customer": "acme"})
        both.stripe.webhooks.drop("*")
        assert (await both.sync()).counts["invoices_differing"] == 1
        await both.desk.work()
        assert await looks(both) == ["failed"]
        assert (await both.sync()).counts["invoices_differing"] == 0
        while await looks(both) == ["failed"]:
            both.desk.clock.advance(minutes=11)
            await both.desk.work()
        assert await looks(both) == ["parked"]
        assert (await both.sync()).counts["invoices_differing"] == 0


async def test_a_draft_whose_deletion_was_lost_is_shown_no_more(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        api = both.desk.door.api
        drafts = [
            (await api.ask(api.v1.invoices.create_async({"customer": both.customers["acme"]}))).id
            for _ in range(2)
        ]
        await both.hear()
        both.desk.clock.advance(hours=1)
        await api.ask(api.v1.invoices.delete_async(drafts[0]))
        both.stripe.webhooks.drop("*")
        assert (await both.sync("acme")).counts["invoices_differing"] == 1
        await both.desk.work()
        assert {one[0]: one[2] for one in await invoices(both)} == {
            "in_00000001": "paid",
            drafts[0]: "deleted",
            drafts[1]: "draft",
        }
        assert (await both.sync("acme")).counts["invoices_differing"] == 0
