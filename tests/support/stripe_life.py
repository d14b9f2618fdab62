"""Two customers, Headroom, and a Stripe beside it of which everything may go wrong on the way."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from api.billing.actions import BillingActions, By, Ending, When
from api.billing.baskets import Basket
from api.billing.catch_up import CatchUp
from api.billing.claims import Claims
from api.billing.operations import KEYS_KEPT, Operations
from api.billing.pushing import Pusher
from api.billing.queue import ReconciliationQueue
from api.billing.reconcile import Asked, Reconciliation, Report
from api.billing.stripe_account import StripeAccount
from api.billing.stripe_acts import StripeActs
from api.billing.stripe_events import StripeEvents
from api.billing.stripe_shelf import StripeShelf
from api.billing.support_actions import SupportActions
from api.billing.worker import InboxWorker
from api.domain.errors import HeadroomError
from api.infra.postgres import connect
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.stripe_sim.errors import Refused
from tests.stripe_sim.routes import Asked as AskedOfStripe
from tests.stripe_sim.routes import answering
from tests.support import stripe_says
from tests.support.billing import CATALOG, PACKS, Desk, desk
from tests.support.clock import FakeClock
from tests.support.mortal import dying

CUSTOMERS = ("acme", "globex")
RETURN = "https://app.example.com/billing"
ROUNDS = 8
REACH = timedelta(days=30)
FURTHEST = timedelta(days=4000)
_numbers = itertools.count(1)
Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class StripeLife:
    """Everything that happens in one life, until it is to be compared."""

    desk: Desk
    stripe: SimulatedStripe
    clock: FakeClock
    keys: itertools.count[int] = field(default_factory=itertools.count)
    dies_after: int = 0
    """At which await whoever works next dies; 0: nobody does."""

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, as a process does that knows nothing of the one before it."""
        core, door = self.desk.core, self.desk.door
        account = StripeAccount(door)
        self.operations = Operations(core.database, StripeActs(door.api), self.clock)
        self.actions = BillingActions(
            core.database, core.customers, core.revisions, self.operations, RETURN
        )
        self.support = SupportActions(core.customers, self.operations)
        self.worker = InboxWorker(core.database, door, core.changes, core.revisions)
        self.caught = CatchUp(core.database, self.desk.inbox, StripeEvents(door.api))
        self.compare = Reconciliation(core.database, account, core.revisions)
        self.queue = ReconciliationQueue(core.database, account, core.revisions)

    async def lived(self, steps: Coroutine[Any, Any, T]) -> T | None:
        """Let somebody work, who may be refused, meet an outage, or die on the way."""
        places, self.dies_after = self.dies_after, 0
        try:
            return await dying(steps, places)
        except HeadroomError:
            return None
        finally:
            if places:
                self.restart()

    def by(self) -> By:
        """Return who acts, under a key of its own."""
        return By("test", "a test", key=f"k{next(self.keys)}")

    # What customers and support ask of Headroom.

    async def checkout(self, customer: str, basket: Basket) -> None:
        at = self.clock.now()
        await self.lived(self.actions.checkout(customer, basket, by=self.by(), at=at))

    async def change_plan(self, customer: str, plan: str, when: When) -> None:
        at = self.clock.now()
        await self.lived(self.actions.change_plan(customer, plan, by=self.by(), at=at, when=when))

    async def cancel(self, customer: str, ending: Ending) -> None:
        at, by = self.clock.now(), self.by()
        await self.lived(
            self.actions.cancel(customer, ending=ending, by=by, at=at, subscription=None)
        )

    async def resume(self, customer: str) -> None:
        at = self.clock.now()
        await self.lived(self.actions.resume(customer, by=self.by(), at=at, subscription=None))

    async def set_add_on(self, customer: str, quantity: int) -> None:
        at, by = self.clock.now(), self.by()
        await self.lived(
            self.actions.set_add_on(
                customer, "more_seats", quantity, by=by, at=at, subscription=None
            )
        )

    async def refund(self, payment: str, amount: int | None) -> None:
        at = self.clock.now()
        await self.lived(self.support.refund(payment, amount, by=self.by(), at=at))

    # What happens at Stripe without Headroom.

    def at_stripe(self, method: str, path: str, **said: Any) -> Json | None:
        """Do what somebody does on Stripe's own pages; None where Stripe refuses."""
        self.stripe.world.time.catch_up()
        function, ids = answering(method, path)
        try:
            return function(AskedOfStripe(self.stripe.world, ids, said))
        except Refused:
            return None

    def price(self, key: str) -> str:
        """Return Stripe's id of a price."""
        return str(next(p["id"] for p in self.stripe.all("price") if p["lookup_key"] == key))

    def swap(self, subscription: str, price: str) -> None:
        """Change the plan in the portal."""
        items = self.stripe.get(subscription)["items"]["data"]
        held = next(i for i in items if i["price"]["lookup_key"] in stripe_says.PLANS)
        change = {"id": held["id"], "price": self.price(price)}
        self.at_stripe("POST", f"/v1/subscriptions/{subscription}", items=[change])

    def bill(self, customer: str) -> None:
        """Draw up an invoice by hand, for whoever Stripe has by this name."""
        subscriptions_ = self.stripe.all("subscription")
        name = next((s["customer"] for s in subscriptions_ if stripe_says.payer(s) == customer), "")
        if made := self.at_stripe("POST", "/v1/invoices", customer=name):
            said = {"customer": name, "invoice": made["id"], "amount": "500"}
            self.at_stripe("POST", "/v1/invoiceitems", **said)

    def at_invoice(self, invoice: str, how: str) -> None:
        """Do with an invoice what Stripe's own pages allow."""
        path = f"/v1/invoices/{invoice}"
        if how == "deleted":
            self.at_stripe("DELETE", path)
        elif how == "elsewhere":
            self.at_stripe("POST", f"{path}/pay", paid_out_of_band="true")
        else:
            self.at_stripe("POST", f"{path}/{how}")

    def finish(self, session: str, card: str, *, delayed: bool) -> None:
        """Go through a checkout."""
        self.stripe.world.time.catch_up()
        if self.stripe.get(session)["status"] != "open":
            return
        delayed = delayed and self.stripe.get(session)["mode"] == "payment"
        try:
            self.stripe.checkout.complete(session, card=card, delayed=delayed)
        except Refused:
            return

    def decide(self, session: str, *, comes: bool) -> None:
        """Let money that was on its way come, or not."""
        till = self.stripe.checkout
        till.arrive(session) if comes else till.fail_async(session)

    # What processes do.

    async def take(self, body: bytes, header: str) -> int:
        now = self.clock.now()
        await self.desk.inbox.accept(body, header, "192.0.2.7", "Stripe/1.0", now)
        return 200

    async def deliver(self) -> None:
        await self.lived(self.stripe.webhooks.deliver_to(self.take))

    async def work(self) -> None:
        await self.lived(self._worked())

    async def _worked(self) -> None:
        while await self.worker.run_once(self.clock.now()):
            pass

    async def claim(self) -> None:
        """Take events up and die."""
        await Claims(self.desk.core.database, "stripe").take(self.clock.now(), 4)

    async def ask_again(self) -> None:
        await self.lived(self.operations.run_once(self.clock.now()))

    async def catch_up(self) -> None:
        await self.lived(self.caught.turn(self.clock.now()))

    async def put_right(self) -> None:
        await self.lived(self.queue.run_once(self.clock.now()))

    async def reconcile(self) -> Report | None:
        return await self._compared(Asked(execute=True, purchases_back=FURTHEST))

    async def sync(self) -> None:
        """Compare the first customer alone."""
        customer = await self.desk.core.customers.get(CUSTOMERS[0])
        await self._compared(Asked(customer.id, execute=True))

    async def _compared(self, asked: Asked) -> Report | None:
        at = self.clock.now()
        return await self.lived(self.compare.run(asked, actor="test", reason="a test", at=at))

    def scramble(self, seed: int, *, drop: float) -> None:
        """Lose some deliveries, double, delay and reorder others."""
        chance = random.Random(seed)  # noqa: S311 - no secret
        self.stripe.webhooks.scramble(chance, drop=drop, duplicate=0.3, delay=0.3)

    # The end.

    async def settle(self, *, lose: bool, fetch: bool) -> None:
        """End what is wrong with Stripe, let all work be done, then compare once.

        ``lose``: what is not delivered by now never is. ``fetch``: Stripe's list of events is read
        as far as it goes.
        """
        self.dies_after = 0
        self.stripe.faults.clear()
        self.restart()
        for _ in range(ROUNDS):
            await self._round(lose=lose)
            self.stripe.advance(minutes=12)
        while await self._waits():
            await self._round(lose=lose)
            self.stripe.advance(hours=6)
        await self._round(lose=lose)
        if fetch:
            at = self.clock.now()
            await self.caught.since(at - REACH, actor="test", reason="a test", at=at)
            await self._worked()
        assert await self.reconcile() is not None
        await self._worked()

    async def _waits(self) -> bool:
        """Tell whether an action's outcome is unknown: Stripe repeats a 500 of its own for a day.

        Whoever asks ends that before Stripe forgets the key.
        """
        at: datetime | None = await self.desk.core.database.fetchval(
            "select min(created_at) from provider_operations where state = 'pending'"
        )
        assert at is None or self.clock.now() - at < KEYS_KEPT + timedelta(hours=12)
        return at is not None

    async def _round(self, *, lose: bool) -> None:
        if lose:
            self.stripe.webhooks.drop()
        await self.stripe.webhooks.deliver_to(self.take)
        await self._worked()
        while await self.operations.run_once(self.clock.now()):
            pass
        await self.queue.run_once(self.clock.now())
        await self._worked()


@asynccontextmanager
async def stripe_life(
    admin_url: str, template: str, redis_url: str, clock: FakeClock
) -> AsyncGenerator[StripeLife]:
    """Begin a life on a database of its own, with the catalog on Stripe's shelf."""
    async with (
        _database(admin_url, template) as database_url,
        simulated_stripe(clock) as stripe,
        desk(
            database_url,
            redis_url,
            clock,
            customers=CUSTOMERS,
            catalog=CATALOG + PACKS,
            api_key=stripe.key,
            api_base=stripe.address,
            secrets=(stripe.webhooks.secret,),
        ) as opened,
    ):
        await opened.core.door.command("FLUSHALL")
        await Pusher(opened.core.database, StripeShelf(opened.door.api)).push(
            opened.core.revisions.newest.catalog,
            retire=False,
            actor="test",
            reason="a test",
            at=clock.now(),
        )
        yield StripeLife(opened, stripe, clock)


@asynccontextmanager
async def _database(admin_url: str, template: str) -> AsyncGenerator[str]:
    name = f"life_{next(_numbers)}"
    async with connect(admin_url) as admin:
        await admin.execute(f"create database {name} template {template}")
    try:
        yield urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}"))
    finally:
        async with connect(admin_url) as admin:
            await admin.execute(f"drop database {name} with (force)")
