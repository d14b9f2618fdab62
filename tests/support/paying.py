"""An installation whose customers pay: every door open, Stripe beside it, a worker at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from api.billing.inbox import Inbox
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_door import StripeDoor
from api.billing.worker import InboxWorker
from api.wiring.graphql import graphql_of
from api.worker.work import Worker
from tests.support.clock import FakeClock
from tests.support.scene import BOOKKEEPER, Scene
from tests.support.site import client_of, site_on
from tests.support.stripe_events import SECRET, Json, Life, body_of, signed
from tests.support.stripe_server import KEY, StripeServer, stripe_server

PATH = "/webhooks/stripe"

_CUSTOMER = """
query ($key: String!) {
  customer(key: $key) {
    plan { key }
    subscriptions {
      status
      plan { key }
      cancelAtPeriodEnd
      trialEndsAt
      currentPeriodEnd
      providerId
    }
  }
}
"""

_EVENT = """
query ($id: String!) { webhookEvent(eventId: $id) { state attempts problem error } }
"""


@dataclass(slots=True)
class Paying(Scene):
    """A scene with a webhook door, a worker that runs when told to, and Stripe as it stands."""

    inbox: Inbox
    worker: InboxWorker
    stripe: StripeServer

    async def deliver(
        self, event: Json | bytes, *, signature: str | None = None, **headers: str
    ) -> httpx.Response:
        """POST one event as Stripe does, signed now unless another ``signature`` is given."""
        body = event if isinstance(event, bytes) else body_of(event)
        sent = {"Stripe-Signature": signature or signed(body, self.clock.now()), **headers}
        return await self.client.post(PATH, content=body, headers=sent)

    async def work(self) -> int:
        """Let the worker do all that is due; return how many events it took up."""
        taken = 0
        while count := await self.worker.run_once(self.clock.now()):
            taken += count
        return taken

    async def tell(self, *events: Json, life: Life | None = None) -> None:
        """Deliver events and have each handled; ``life`` is how things stand at Stripe then."""
        if life is not None:
            self.stripe.holds(life)
        for event in events:
            assert (await self.deliver(event)).status_code == 200
            await self.work()

    async def customer(self, key: str = "acme") -> Any:  # noqa: ANN401 - any answer
        """Return plan and subscriptions as an operator sees them."""
        return (await self.ask(_CUSTOMER, key=key))["customer"]

    async def plan(self, key: str = "acme") -> str:
        """Return the plan that the customer has."""
        return str((await self.customer(key))["plan"]["key"])

    async def event(self, event: Json) -> Any:  # noqa: ANN401 - any answer
        """Return what became of an event as an operator sees it."""
        return (await self.ask(_EVENT, id=event["id"]))["webhookEvent"]

    async def limit(self, feature: str, customer: str = "acme") -> int | None:
        """Return how much of a feature may be used, in its widest window; None: not granted."""
        at_ms = int(self.clock.now().timestamp() * 1000)
        found = (await self.core.gate.figures(customer, [feature], at_ms))[feature]
        return None if found is None else found[-1].limit

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Let the worker of a server work beside it."""
        began, stop = asyncio.Event(), asyncio.Event()
        working = asyncio.create_task(Worker(self.core, self.worker).run(began.set, stop))
        try:
            await began.wait()
            yield
        finally:
            stop.set()
            await working


@asynccontextmanager
async def paying(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    *,
    catalog: str = BOOKKEEPER,
    secrets: tuple[str, ...] = (SECRET,),
    reads: bool = True,
) -> AsyncGenerator[Paying]:
    """Build an installation; with ``reads`` objects are read again at the simulated Stripe."""
    async with (
        stripe_server() as stripe,
        site_on(database_url, redis_url, clock, catalog) as closed,
        StripeDoor(
            secrets=secrets,
            api_key=KEY if reads else None,
            api_base=stripe.address if reads else None,
        ) as door,
    ):
        core = closed.core
        inbox = Inbox(core.database, door, SignatureFailures(core.database, PATH))
        worker = InboxWorker(core.database, door, core.changes, core.revisions)
        site = closed.rebuilt(inbox=inbox, graphql=graphql_of(core, closed.parts.access, inbox))
        async with client_of(site.app) as client:
            yield Paying(core, clock, site, client, inbox, worker, stripe)
