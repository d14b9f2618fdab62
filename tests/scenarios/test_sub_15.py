"""SUB-15: two invoices for one period of one subscription.

| what happens                               | queue                        |
|--------------------------------------------|------------------------------|
| the period is asked for twice              | double_invoice, and an alert |
| the next passes                            | nothing more                 |
| one of the two is voided                   | resolved by itself           |
| both are paid                              | waits for a person           |
| a renewal                                  | nothing                      |
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import paired


@pytest.mark.parametrize("paid", [True, False])
async def test_a_second_invoice_for_a_period_is_found_once_and_settled_when_it_is_gone(
    database_url: str, redis_url: str, clock: FakeClock, *, paid: bool
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        held = await both.subscribe("acme")
        both.stripe.advance(days=32)
        await both.hear()
        await both.sync()
        assert await both.items() == []
        first = both.stripe.get(held)["latest_invoice"]
        if not paid:
            both.stripe.payments.fail_always(both.customers["acme"])
        second = both.stripe.bill_again(held)
        both.stripe.advance(hours=2)
        await both.hear()
        assert both.stripe.get(second)["status"] == ("paid" if paid else "open")
        for new in (1, 0):
            assert (await both.sync()).counts["double_invoices"] == new
            clock.advance(minutes=1)
        assert await both.items() == [("double_invoice", second, "open")]
        assert ("double_invoice", "warning") in await both.alerts()
        [item] = await both.queue.list_()
        assert item["detail"]["beside"] == first
        await both.queue.run_once(clock.now())
        assert [state for *_, state in await both.items()] == ["open"]
        if paid:
            return  # a person gives the money back, and resolves it
        v1 = both.desk.door.api.v1
        await both.desk.door.api.ask(v1.invoices.void_invoice_async(second))
        await both.hear()
        clock.advance(minutes=2)
        await both.queue.run_once(clock.now())
        assert [state for *_, state in await both.items()] == ["resolved"]
