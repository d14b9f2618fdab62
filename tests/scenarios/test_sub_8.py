"""SUB-8: a plan change that was paid for, but never promoted from pending.

| what happens                              | here            | afterwards            |
|-------------------------------------------|-----------------|-----------------------|
| a change waits, is paid, the event comes  | pro, pending    | pro                   |
| the same, and the event is lost           | pro, pending    | pro, by reconciliation |
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import paired, waiting


@pytest.mark.parametrize("heard", [True, False], ids=["by the event", "by reconciliation"])
async def test_a_change_that_was_paid_for_is_promoted(
    database_url: str, redis_url: str, clock: FakeClock, *, heard: bool
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        assert await both.desk.plan("acme") == "starter"
        both.desk.clock.advance(minutes=10)
        api = both.desk.door.api
        both.stripe.use_card(both.customers["acme"], "ok")
        invoice = str(both.stripe.get(sub)["latest_invoice"])
        await api.ask(api.v1.invoices.pay_async(invoice))
        if not heard:
            both.stripe.webhooks.drop("*")
        await both.hear()
        if not heard:
            assert await both.desk.plan("acme") == "starter"
            [found] = (await both.sync()).differences
            assert ("pending_plan", "pro", "") in found.fields
            await both.desk.work()
        assert await both.desk.plan("acme") == "pro"
        assert (await both.sync()).differing == 0
