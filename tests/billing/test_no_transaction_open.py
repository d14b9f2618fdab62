"""Stripe may take its time: while it does, no transaction of ours stands open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from api.billing.reconcile import Asked
from api.wiring.payments import (
    catch_up_of,
    pusher_of,
    reconciliation_of,
    reconciliation_queue_of,
)
from tests.stripe_sim.door import Request
from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing

LOOKS = 300
"""How often the activity is read again before a transaction counts as waiting for an answer."""


@dataclass
class Watched:
    """What Stripe was asked, and what stood open meanwhile."""

    deal: Dealing
    asked: set[str] = field(default_factory=set)
    open: list[str] = field(default_factory=list)

    async def look(self, request: Request) -> None:
        """Note a request, and what stands open inside a transaction until it is answered.

        Work beside it, that asks Stripe nothing, is between two statements for a moment: what
        ends while the answer is kept back did not wait for it.
        """
        asked = f"{request.method} {request.path}"
        self.asked.add(asked)
        waiting = await self._idle()
        for _ in range(LOOKS):
            if not waiting:
                return
            still = await self._idle()
            waiting = {key: query for key, query in still.items() if key in waiting}
        self.open += [f"{asked}: {query}" for query in waiting.values()]

    async def _idle(self) -> dict[tuple[int, datetime], str]:
        """Return the last statement of each transaction that is idle, by process and begin."""
        rows = await self.deal.core.database.fetch(
            "select pid, xact_start, query from pg_stat_activity"
            " where datname = current_database() and state like 'idle in transaction%'"
        )
        return {(row["pid"], row["xact_start"]): row["query"] for row in rows}


@asynccontextmanager
async def watched(
    database_url: str, redis_url: str, clock: FakeClock
) -> AsyncGenerator[tuple[Dealing, Watched]]:
    async with dealing(database_url, redis_url, clock) as deal:
        seen = Watched(deal)
        assert deal.stripe.server is not None
        deal.stripe.server.watch = seen.look
        yield deal, seen


async def test_a_transaction_that_stands_open_is_seen(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with watched(database_url, redis_url, clock) as (deal, seen):
        async with deal.core.database.transaction() as conn:
            await conn.execute("select 'left open'")
            await deal.door.api.pages("products")
        assert seen.open == ["GET /v1/products: select 'left open'"]


async def test_no_action_event_or_comparison_asks_stripe_inside_a_transaction(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with watched(database_url, redis_url, clock) as (deal, seen):
        core, door = deal.core, deal.door
        await deal.done("createCheckout", customer="acme", plan="starter")
        [page] = deal.stripe.all("checkout.session")
        deal.stripe.checkout.complete(page["id"])
        await deal.hear()
        assert await deal.plan() == "starter"
        await deal.done("createPortalSession", customer="acme")
        await deal.done("changePlan", customer="acme", plan="pro", when="PERIOD_END")
        await deal.work()
        await deal.done("resumeSubscription", customer="acme")
        await deal.work()
        await deal.done("changePlan", customer="acme", plan="firm")
        await deal.work()
        await deal.done("setAddOnQuantity", customer="acme", addOn="firm_addon", quantity=2)
        await deal.hear()
        deal.stripe.advance(days=45)
        await deal.hear()
        paid = next(p["id"] for p in deal.stripe.all("payment_intent") if p["amount_received"])
        await deal.done("refundPayment", as_="support", payment=paid, amountMinor=100)
        await deal.hear()
        deal.stripe.webhooks.on = False
        await deal.done("cancelSubscription", customer="acme")
        await deal.work()
        await catch_up_of(core, door).turn(clock.now())
        await deal.work()
        other = deal.stripe.customer(metadata={"headroom_customer": "acme"})
        await door.api.ask(
            door.api.v1.subscriptions.create_async(
                {"customer": other, "items": [{"price": deal.price("starter")}]}
            )
        )
        await reconciliation_of(core, door).run(
            Asked(execute=True), actor="local:test", reason="a test", at=clock.now()
        )
        await deal.work()
        clock.advance(hours=1)
        await reconciliation_queue_of(core, door).run_once(clock.now())
        await deal.work()
        await pusher_of(core, door).push(
            core.revisions.newest.catalog,
            retire=False,
            actor="local:test",
            reason="a test",
            at=clock.now(),
        )
        assert seen.open == []
        for part in ("checkout/sessions", "billing_portal", "subscription_schedules", "refunds"):
            assert any(part in asked for asked in seen.asked), part
        for part in ("GET /v1/subscriptions/", "GET /v1/events", "GET /v1/products"):
            assert any(asked.startswith(part) for asked in seen.asked), part
