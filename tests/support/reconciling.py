"""A desk whose Stripe is the simulated one, with everything that compares the two."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from api.billing.budget import Budget
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Asked, Reconciliation, Report
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_door import StripeDoor
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.billing import CATALOG, Desk, desk
from tests.support.clock import FakeClock

PRICES = {"starter_monthly": 4900, "pro_monthly": 9900, "more_seats_monthly": 900}


@dataclass
class Pair:
    """The record and the provider, which may be brought out of step."""

    desk: Desk
    stripe: SimulatedStripe
    account: StripeAccount
    compare: Reconciliation
    queue: ReconciliationQueue
    prices: dict[str, str]
    customers: dict[str, str]

    async def subscribe(self, key: str, price: str = "starter_monthly", **more: Any) -> str:
        """Let a customer subscribe at the provider; return the subscription."""
        api = self.desk.door.api
        if key not in self.customers:
            self.customers[key] = self.stripe.customer(metadata={"headroom_customer": key})
        said: Any = {"customer": self.customers[key], "items": [{"price": self.prices[price]}]}
        return (await api.ask(api.v1.subscriptions.create_async(said | more))).id

    async def cancel(self, subscription: str) -> None:
        """Let a subscription end at the provider."""
        api = self.desk.door.api
        await api.ask(api.v1.subscriptions.cancel_async(subscription))

    async def hear(self) -> None:
        """Let every event arrive, and be handled."""
        await self.stripe.webhooks.deliver_to(self.take)
        await self.desk.work()

    async def take(self, body: bytes, header: str) -> int:
        await self.desk.inbox.accept(body, header, "192.0.2.7", "Stripe/1.0", self.desk.clock.now())
        return 200

    async def sync(self, key: str | None = None, *, execute: bool = True, **more: Any) -> Report:
        """Compare one customer or all, as ``headroom sync`` does."""
        held = None if key is None else (await self.desk.core.customers.get(key)).id
        return await self.compare.run(
            Asked(held, execute=execute, **more),
            actor="local:tester",
            reason="they are out of step",
            at=self.desk.clock.now(),
        )

    async def act(self) -> int:
        """Act on the queue once, and let what was left be read."""
        acted = await self.queue.run_once(self.desk.clock.now())
        await self.desk.work()
        return acted

    async def items(self) -> list[tuple[str, str, str]]:
        """Return kind, object and state of all that was queued, oldest first."""
        return [(r["kind"], r["object_id"], r["state"]) for r in await self.queue.list_()][::-1]

    async def alerts(self) -> list[tuple[str, str]]:
        rows = await self.desk.core.database.fetch("select * from alerts order by id")
        return [(row["kind"], row["severity"]) for row in rows]


async def waiting(both: Pair) -> str:
    """Let acme change to pro with a card that fails."""
    sub = await both.subscribe("acme")
    both.stripe.use_card(both.customers["acme"], "fails")
    await change_in_vain(both, sub)
    await both.hear()
    [held] = await both.desk.held("acme")
    assert held.pending_plan == "pro"
    return sub


async def change_in_vain(both: Pair, sub: str) -> None:
    """Ask for a change to pro, which waits until it is paid."""
    api = both.desk.door.api
    item = both.stripe.get(sub)["items"]["data"][0]["id"]
    said: Any = {
        "items": [{"id": item, "price": both.prices["pro_monthly"]}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    await api.ask(api.v1.subscriptions.update_async(sub, said))


@asynccontextmanager
async def paired(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    *,
    customers: Iterable[str] = ("acme",),
    catalog: str = CATALOG,
    most_attempts: int = 10,
    budget: Budget | None = None,
) -> AsyncGenerator[Pair]:
    """Open a desk beside a simulated Stripe that sells what the catalog has."""
    async with (
        simulated_stripe(clock) as stripe,
        desk(
            database_url,
            redis_url,
            clock,
            customers=customers,
            catalog=catalog,
            api_key=stripe.key,
            api_base=stripe.address,
            secrets=(stripe.webhooks.secret,),
            budget=budget,
        ) as opened,
    ):
        account = StripeAccount(opened.door)
        core = opened.core
        yield Pair(
            opened,
            stripe,
            account,
            Reconciliation(core.database, account, core.revisions),
            ReconciliationQueue(
                core.database,
                account,
                core.revisions,
                most_attempts=most_attempts,
            ),
            await _prices(opened.door),
            {},
        )


async def _prices(door: StripeDoor) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, amount in PRICES.items():
        product = await door.api.ask(door.api.v1.products.create_async({"name": key}))
        said: Any = {
            "product": product.id,
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": "month"},
            "lookup_key": key,
        }
        found[key] = (await door.api.ask(door.api.v1.prices.create_async(said))).id
    return found
