"""SUB-15: two invoices for one period of one subscription.

| what happens                               | queue                        |
|--------------------------------------------|------------------------------|
| the period is asked for twice              | double_invoice, and an alert |
| the next passes                            | nothing more                 |
| one of the two is voided, or deemed lost   | resolved by itself           |
| a renewal                                  | nothing                      |
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import paired


@pytest.mark.parametrize("status", ["paid", "open"])
async def test_a_second_invoice_for_a_period_is_found_once_and_settled_when_it_is_gone(
    database_url: str, redis_url: str, clock: FakeClock, status: str
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        await both.subscribe("acme")
        both.stripe.advance(days=32)
        await both.hear()
        await both.sync()
        assert await both.items() == []
        [_, second] = await both.desk.core.database.fetch("select * from invoices order by id")
        await both.desk.core.database.execute(
            """
            insert into invoices (
                provider, provider_id, customer_id, provider_customer, subscription_id, status,
                currency, total_minor, due_minor, paid_minor, remaining_minor, period_start,
                period_end, created_at, reason, told_at, told_by, updated_at
            )
            select provider, 'in_again', customer_id, provider_customer, subscription_id, $2,
                currency, total_minor, due_minor, paid_minor, remaining_minor, period_start,
                period_end, created_at + interval '1 hour', 'manual', told_at, told_by, updated_at
            from invoices where id = $1
            """,
            second["id"],
            status,
        )
        for new in (1, 0):
            assert (await both.sync()).counts["double_invoices"] == new
            clock.advance(minutes=1)
        assert await both.items() == [("double_invoice", "in_again", "open")]
        assert ("double_invoice", "warning") in await both.alerts()
        [item] = await both.queue.list_()
        assert item["detail"]["beside"] == second["provider_id"]
        await both.queue.run_once(clock.now())
        assert [state for *_, state in await both.items()] == ["open"]
        await both.desk.core.database.execute(
            "update invoices set status = 'void' where provider_id = 'in_again'"
        )
        clock.advance(minutes=2)
        await both.queue.run_once(clock.now())
        assert [state for *_, state in await both.items()] == ["resolved"]
