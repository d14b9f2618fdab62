"""SUB-9: a pending change abandoned for 72 hours.

| when          | what is known                       | what is done                     |
|---------------|-------------------------------------|----------------------------------|
| a change      | it waits for its payment            | watched                          |
| 72 hours later | Stripe still has it waiting        | dropped there, a warning, looked at |
| or            | Stripe let it go, the event was lost | the record follows              |
"""

import pytest

from tests.support.clock import FakeClock
from tests.support.reconciling import paired, waiting


@pytest.mark.parametrize("let_go", [True, False], ids=["let go by Stripe", "still waiting"])
async def test_after_72_hours_no_change_waits_any_more(
    database_url: str, redis_url: str, clock: FakeClock, *, let_go: bool
) -> None:
    async with paired(database_url, redis_url, clock) as both:
        sub = await waiting(both)
        await both.act()
        if not let_go:
            held = both.stripe.world.store.get("subscription", sub)
            held["pending_update"]["expires_at"] += 30 * 86_400
        both.stripe.advance(hours=71)
        both.stripe.webhooks.drop("*")
        assert await both.act() == 0
        assert await both.items() == [("abandoned_change", sub, "open")]
        both.stripe.advance(hours=2)
        await both.act()
        assert both.stripe.get(sub)["pending_update"] is None
        both.desk.clock.advance(minutes=2)
        await both.act()
        assert await both.items() == [("abandoned_change", sub, "resolved")]
        [record] = await both.desk.held("acme")
        assert (record.pending_plan, record.plan) == (None, "starter")
        told = [severity for kind, severity in await both.alerts() if kind == "abandoned_change"]
        assert told == ([] if let_go else ["warning"])
