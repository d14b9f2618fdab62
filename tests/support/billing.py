"""A billing desk on real engines: deliveries come in signed, the worker runs when told to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from api.billing.budget import Budget
from api.billing.inbox import Accepted, Inbox, Refused, StoredEvent
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_door import StripeDoor
from api.billing.worker import InboxWorker
from api.catalog import subscriptions
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import Entitlements, entitle
from api.ledger import entries
from api.ledger.entries import Kind, Movement, Why
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import opened
from tests.support.stripe_events import SECRET, Json, body_of, signed

ENDPOINT = "/webhooks/stripe"

CATALOG = """
product = "desk"
past_due = "keep"

[customer_types.business]
default_plan = "free"

[features.posts]
name = "Posts"
kind = "metered"

[features.seats]
name = "Seats"
kind = "allocation"

[plans.free]
name = "Free"
[plans.free.features]
posts.month = 10
seats = 1

[plans.starter]
name = "Starter"
[plans.starter.prices]
starter_monthly = { amount_minor = 4900, currency = "usd", interval = "month", trial_days = 14 }
starter_yearly = { amount_minor = 49000, currency = "usd", interval = "year" }
[plans.starter.features]
posts.month = 300
seats = 3

[plans.pro]
name = "Pro"
[plans.pro.prices]
pro_monthly = { amount_minor = 9900, currency = "usd", interval = "month" }
[plans.pro.features]
posts.month = 3_000
seats = 10

[add_ons.more_seats]
name = "More seats"
[add_ons.more_seats.prices]
more_seats_monthly = { amount_minor = 900, currency = "usd", interval = "month" }
[add_ons.more_seats.features]
seats = 1
"""

PACKS = """
[features.chat]
name = "Chat"
kind = "metered"

[features.search]
name = "Search"
kind = "metered"

[costs.chat]
credits = 1

[costs.search]
credits = 1

[packs.boost]
name = "100 credits"
credits = 100
[packs.boost.prices]
boost = { amount_minor = 1000, currency = "usd", interval = "once" }

[packs.gift]
name = "7 credits for chats"
credits = 7
bucket = "promotional"
priority = 5
expires_days = 30
features = ["chat"]
"""
"""Packs, to be sold beside what ``CATALOG`` has."""


_BUSINESS = '[customer_types.business]\ndefault_plan = "free"\n'
SEVERAL = CATALOG.replace(_BUSINESS, f"{_BUSINESS}several_subscriptions = true\n")
"""A catalog in which plans may be held side by side."""


def with_credits(plan: str, said: str, catalog: str = CATALOG) -> str:
    """Return a catalog in which this plan brings credits: ``units = 100``."""
    head = f"[plans.{plan}.features]"
    assert head in catalog
    return catalog.replace(head, f"[plans.{plan}.credits]\n{said}\n\n{head}")


@dataclass
class Desk:
    """The inbox, its worker, and what they change."""

    core: Core
    clock: FakeClock
    door: StripeDoor
    inbox: Inbox
    worker: InboxWorker

    async def deliver(
        self, event: Json | bytes, *, secret: str = SECRET, remote: str = "192.0.2.7"
    ) -> Accepted | Refused:
        """Send one event as Stripe does, signed at this instant."""
        body = event if isinstance(event, bytes) else body_of(event)
        header = signed(body, self.clock.now(), secret)
        return await self.inbox.accept(body, header, remote, "Stripe/1.0", self.clock.now())

    async def work(self) -> int:
        """Let the worker do what is due now; return how many events it took up."""
        taken = 0
        while count := await self.worker.run_once(self.clock.now()):
            taken += count
        return taken

    async def tell(self, *events: Json) -> None:
        """Deliver events one after the other, each handled before the next one comes."""
        for event in events:
            assert isinstance(await self.deliver(event), Accepted)
            await self.work()

    async def rights(self, key: str) -> Entitlements:
        """Return what this customer may do now, as the record says."""
        customer = await self.core.customers.get(key)
        facts = (await self.core.customers.many_facts([customer.id]))[customer.id]
        return entitle(self.core.revisions.newest.catalog, facts, self.clock.now())

    async def plan(self, key: str) -> str:
        return (await self.rights(key)).plan

    async def held(self, key: str) -> tuple[SubscriptionRecord, ...]:
        customer = await self.core.customers.get(key)
        return await subscriptions.by_customer(self.core.database, customer.id)

    async def grants(self, key: str = "acme") -> list[Any]:
        """Return the customer's grants in the order in which they were given."""
        customer = await self.core.customers.get(key)
        return await self.core.database.fetch(
            "select * from credit_grants where customer_id = $1 order by id", customer.id
        )

    async def balance(self, key: str = "acme") -> int:
        """Return the credits that may be spent now."""
        at = self.clock.now()
        return sum(
            grant["available"]
            for grant in await self.grants(key)
            if grant["effective_at"] <= at
            and (grant["expires_at"] is None or grant["expires_at"] > at)
        )

    async def ledger(self, key: str = "acme") -> list[tuple[str, int]]:
        """Return kind and amount of every entry, in order."""
        customer = await self.core.customers.get(key)
        rows = await self.core.database.fetch(
            "select kind, amount from credit_entries where customer_id = $1 order by id",
            customer.id,
        )
        return [(row["kind"], row["amount"]) for row in rows]

    async def spend(self, amount: int, key: str = "acme") -> None:
        """Spend credits of the grants that end first, as the ledger's own entries."""
        at, left = self.clock.now(), amount
        moves: list[Movement] = []
        for grant in await self.grants(key):
            over = grant["expires_at"] is not None and grant["expires_at"] <= at
            taken = 0 if over else min(left, grant["available"])
            if taken:
                why = Why("~spend", "a test", "test")
                moves.append(
                    Movement(grant["customer_id"], Kind.SPEND, grant["id"], taken, at, why)
                )
                left -= taken
        assert left == 0
        async with self.core.database.transaction() as conn:
            await entries.lock(conn, {move.customer_id for move in moves})
            await entries.post(conn, moves)

    async def bring_back(self, amount: int, key: str = "acme") -> None:
        """Have credits that were spent of the first grant come back to it."""
        [first, *_] = await self.grants(key)
        why = Why("~spend", "a test", "test")
        back = Movement(
            first["customer_id"], Kind.RETURN, first["id"], amount, self.clock.now(), why
        )
        async with self.core.database.transaction() as conn:
            await entries.lock(conn, {back.customer_id})
            await entries.post(conn, [back])

    async def event(self, event: Json | str) -> StoredEvent:
        return await self.inbox.show(event if isinstance(event, str) else event["id"])

    async def states(self) -> list[str]:
        """Return the state of every event, oldest first."""
        rows = await self.core.database.fetch("select state from webhook_events order by id")
        return [row["state"] for row in rows]

    async def count(self, table: str) -> Any:  # noqa: ANN401 - a column's own type
        return await self.core.database.fetchval(f"select count(*) from {table}")  # noqa: S608


@asynccontextmanager
async def desk(  # noqa: PLR0913 - each may be another one
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    *,
    customers: Iterable[str] = ("acme",),
    catalog: str = CATALOG,
    secrets: tuple[str, ...] = (SECRET,),
    api_key: str | None = None,
    api_base: str | None = None,
    budget: Budget | None = None,
) -> AsyncGenerator[Desk]:
    """Open a desk; with ``api_key`` it reads objects again at ``api_base``."""
    async with (
        opened(database_url, redis_url, clock, catalog, tuple(customers)) as core,
        StripeDoor(secrets=secrets, api_key=api_key, api_base=api_base, budget=budget) as door,
    ):
        inbox = Inbox(core.database, door, SignatureFailures(core.database, ENDPOINT))
        worker = InboxWorker(core.database, door, core.changes, core.revisions)
        yield Desk(core, clock, door, inbox, worker)
