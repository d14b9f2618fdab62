"""An installation beside the simulated Stripe, whose customers act through GraphQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from api.billing.inbox import Inbox
from api.billing.operations import Operations
from api.billing.pushing import Pusher
from api.billing.signature_failures import SignatureFailures
from api.billing.stripe_door import StripeDoor
from api.billing.stripe_shelf import StripeShelf
from api.billing.worker import InboxWorker
from api.wiring.graphql import graphql_of
from api.wiring.payments import operations_of
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock
from tests.support.scene import BOOKKEEPER, Scene
from tests.support.site import client_of, site_on

PATH = "/webhooks/stripe"
RETURN = "https://app.example.com/billing"

OPERATION = "{ id action state error url objectId code customer waitsForPayment createdAt endedAt }"

STANDING = """
query ($key: String!) {
  customer(key: $key) {
    plan { key }
    subscriptions {
      status plan { key } pendingPlan { key } cancelAtPeriodEnd currentPeriodEnd providerId
    }
    pendingOperations { id action state }
  }
}
"""


@dataclass(slots=True)
class Dealing(Scene):
    """A scene with a webhook door, a worker that runs when told to, and Stripe beside it."""

    stripe: SimulatedStripe
    door: StripeDoor
    inbox: Inbox
    worker: InboxWorker
    operations: Operations

    async def hear(self, *types: str) -> None:
        """Let events arrive, really signed, and have the worker do all that is due."""
        await self.stripe.webhooks.deliver_to(self.take, *types)
        await self.work()

    async def take(self, body: bytes, header: str) -> int:
        sent = {"Stripe-Signature": header}
        return (await self.client.post(PATH, content=body, headers=sent)).status_code

    async def work(self) -> None:
        """Handle the events that are due."""
        while await self.worker.run_once(self.clock.now()):
            pass

    async def say(
        self, field: str, given: str = "", *, as_: str = "token", **variables: Any
    ) -> dict[str, Any]:
        """Do a mutation ``field`` with an ``input``; return the whole answer."""
        types = {
            "createCheckout": "CheckoutInput",
            "createPortalSession": "PortalSessionInput",
            "changePlan": "ChangePlanInput",
            "cancelSubscription": "CancelSubscriptionInput",
            "resumeSubscription": "ResumeSubscriptionInput",
            "setAddOnQuantity": "SetAddOnInput",
            "applyPromotionCode": "PromotionCodeInput",
            "refundPayment": "RefundPaymentInput",
            "createCoupon": "CreateCouponInput",
        }
        reason = ', reason: "a test"' if field in ("refundPayment", "createCoupon") else given
        document = (
            f"mutation ($input: {types[field]}!) {{ {field}(input: $input{reason}) {OPERATION} }}"
        )
        said: dict[str, Any] = await self.post(document, as_=as_, input=variables)
        return said

    async def done(self, field: str, *, as_: str = "token", **variables: Any) -> dict[str, Any]:
        """Do it, and return what came of it."""
        said = await self.say(field, as_=as_, **variables)
        assert "errors" not in said, said
        return dict(said["data"][field])

    async def refused(self, field: str, *, as_: str = "token", **variables: Any) -> dict[str, Any]:
        """Do it in vain; return what the error says beside its message."""
        said = await self.say(field, as_=as_, **variables)
        (error,) = said["errors"]
        return dict(error["extensions"])

    async def post(self, document: str, *, as_: str = "token", **variables: Any) -> Any:  # noqa: ANN401 - any answer
        """Ask with the customer's own token, or with the key of a scope."""
        bearer = (
            self.site.token("acme", "check", "manage")
            if as_ == "token"
            else self.site.keys.get(as_, as_)
        )
        answered = await self.client.post(
            "/graphql",
            json={"query": document, "variables": variables},
            headers={"Authorization": f"Bearer {bearer}"},
        )
        return answered.json()

    async def subscribe(
        self, price: str, *, card: str | None = "ok", key: str = "acme", **more: Any
    ) -> str:
        """Let a customer subscribe at Stripe, and hear of it; return the subscription."""
        buyer = self.stripe.customer(
            email=f"{key}@example.com", metadata={"headroom_customer": key}, card=card
        )
        said: Any = {"customer": buyer, "items": [{"price": self.price(price)}], **more}
        v1 = self.door.api.v1
        made = await self.door.api.ask(v1.subscriptions.create_async(said))
        await self.hear()
        return str(made.id)

    def price(self, key: str) -> str:
        """Return Stripe's id of a price of the catalog."""
        return str(next(p["id"] for p in self.stripe.all("price") if p["lookup_key"] == key))

    async def standing(self, key: str = "acme") -> Any:  # noqa: ANN401 - any answer
        """Return plan, subscriptions and pending operations."""
        return (await self.ask(STANDING, key=key))["customer"]

    async def plan(self) -> str:
        return str((await self.standing())["plan"]["key"])

    async def limit(self, feature: str) -> int | None:
        at_ms = int(self.clock.now().timestamp() * 1000)
        found = (await self.core.gate.figures("acme", [feature], at_ms))[feature]
        return None if found is None else found[-1].limit


@asynccontextmanager
async def dealing(
    database_url: str, redis_url: str, clock: FakeClock, catalog: str = BOOKKEEPER
) -> AsyncGenerator[Dealing]:
    """Build an installation whose catalog is on Stripe's shelf; customers acme and globex."""
    async with (
        simulated_stripe(clock) as stripe,
        site_on(database_url, redis_url, clock, catalog) as closed,
        StripeDoor(
            secrets=(stripe.webhooks.secret,), api_key=stripe.key, api_base=stripe.address
        ) as door,
    ):
        settings = replace(closed.core.settings, billing_return_url=RETURN)
        core = replace(closed.core, settings=settings)
        await Pusher(core.database, StripeShelf(door.api)).push(
            core.revisions.newest.catalog,
            retire=False,
            actor="local:test",
            reason="a test",
            at=clock.now(),
        )
        inbox = Inbox(core.database, door, SignatureFailures(core.database, PATH))
        worker = InboxWorker(core.database, door, core.changes, core.revisions)
        graphql = graphql_of(core, closed.parts.access, inbox, None, door)
        site = closed.rebuilt(inbox=inbox, graphql=graphql)
        async with client_of(site.app) as client:
            yield Dealing(
                core, clock, site, client, stripe, door, inbox, worker, operations_of(core, door)
            )
