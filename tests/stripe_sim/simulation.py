"""The simulated Stripe as a test holds it: the customer at the till, the bank, and time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from tests.stripe_sim import (  # the rooms enter their routes when they are imported
    accounts,
    checkout,
    customers,
    intents,
    invoices,
    items,
    money_back,
    portal,
    promotions,
    schedules,
    subscriptions,
)
from tests.stripe_sim.cards import Cards
from tests.stripe_sim.customers import made_customer, use_card
from tests.stripe_sim.cycle import bill_again
from tests.stripe_sim.door import Door
from tests.stripe_sim.faults import Faults
from tests.stripe_sim.planting import plant
from tests.stripe_sim.server import Server, listening
from tests.stripe_sim.webhooks import Webhooks
from tests.stripe_sim.world import World

Json = dict[str, Any]

ROOMS = (
    accounts,
    intents,
    items,
    checkout,
    customers,
    invoices,
    money_back,
    portal,
    promotions,
    schedules,
    subscriptions,
)


class MovingClock(Protocol):
    """A clock that a test moves."""

    def now(self) -> datetime: ...

    def set(self, at: datetime) -> None: ...

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime: ...


class SimulatedStripe:
    """One account at Stripe; see README.md beside this file."""

    def __init__(self, clock: MovingClock) -> None:
        self.clock = clock
        self.world = World(clock)
        self.door = Door(self.world)
        self.webhooks = Webhooks(self.world.time, self.world.store, self.world.events)
        self.checkout = Till(self.world)
        self.disputes = Disputes(self.world)
        self.server: Server | None = None

    @property
    def address(self) -> str:
        """The value for ``STRIPE_API_BASE``."""
        assert self.server is not None
        return self.server.address

    @property
    def key(self) -> str:
        """The only API key that is taken."""
        return self.door.key

    @property
    def faults(self) -> Faults:
        """What goes wrong between Headroom and Stripe, and what was asked."""
        return self.door.faults

    @property
    def payments(self) -> Cards:
        """How payments end."""
        return self.world.cards

    @property
    def events(self) -> list[Json]:
        """All events, oldest first, however old."""
        return list(self.world.store.all("event"))

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime:
        """Move the clock on and do all that falls due on the way, each at its own instant."""
        self.clock.advance(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self.world.time.catch_up()
        return self.clock.now()

    def advance_to(self, at: datetime) -> None:
        """Move the clock to an instant and do all that falls due on the way."""
        self.clock.set(at)
        self.world.time.catch_up()

    def step(self) -> bool:
        """Move the clock to the next instant at which something falls due, if there is one."""
        due = self.world.time.next_due
        if due is None:
            return False
        self.advance_to(max(due, self.clock.now()))
        return True

    def get(self, object_id: str) -> Json:
        """Return an object as it is held, to be looked at."""
        for kind in self.world.store.kinds():
            if (found := self.world.store.find(kind, object_id)) is not None:
                return found
        raise KeyError(object_id)

    def all(self, kind: str, **whose: str) -> list[Json]:
        """Return all objects of a kind, oldest first."""
        return list(self.world.store.all(kind, **whose))

    def customer(self, *, card: str | None = "ok", **fields: Any) -> str:
        """Make a customer who has this card, and return the id."""
        made: str = made_customer(self.world, fields)["id"]
        if card is not None:
            use_card(self.world, made, card)
        return made

    def use_card(self, customer: str, card: str) -> None:
        """Let a customer pay with ``ok``, ``fails`` or ``authenticates`` from now on."""
        use_card(self.world, customer, card)

    def delete_customer(self, customer: str) -> None:
        """Delete a customer as the dashboard does: all subscriptions end."""
        customers.delete(self.world, customer)

    def bill_again(self, subscription: str) -> str:
        """Bill a subscription's present period a second time; return the invoice."""
        held = self.world.store.get("subscription", subscription)
        made: str = bill_again(self.world, held)["id"]
        return made

    def fail_refund(self, refund: str) -> Json:
        """Let a bank send a refund back."""
        return money_back.fail_refund(self.world, refund)

    def plant(self, count: int, price: str, **fields: Any) -> None:
        """Hold many active subscriptions to a price at once, without events."""
        plant(self.world, count, price, **fields)

    def at(self, second: int) -> datetime:
        """Return an instant for a number that an object says."""
        return datetime.fromtimestamp(second, UTC)


class Till:
    """The customer on Stripe's page."""

    def __init__(self, world: World) -> None:
        self._world = world

    def complete(self, session: str, *, card: str = "ok", **how: Any) -> Json:
        """Go through a session; ``delayed=True`` for money that comes later."""
        return checkout.complete(self._world, session, card=card, **how)

    def arrive(self, session: str) -> Json:
        """Let delayed money come."""
        return checkout.arrive(self._world, session)

    def fail_async(self, session: str) -> Json:
        """Let delayed money never come."""
        return checkout.fail_async(self._world, session)

    def expire(self, session: str) -> Json:
        """Let an open session end now."""
        held = self._world.store.get("checkout.session", session)
        checkout.expire(self._world, held)
        return held


class Disputes:
    """The cardholder and the bank."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, charge: str, amount: int | None = None) -> Json:
        """Dispute a charge."""
        return money_back.open_dispute(self._world, charge, amount)

    def close(self, dispute: str, status: str = "lost") -> Json:
        """Decide a dispute: ``won`` or ``lost``."""
        return money_back.close_dispute(self._world, dispute, status)


@asynccontextmanager
async def simulated_stripe(clock: MovingClock, port: int = 0) -> AsyncGenerator[SimulatedStripe]:
    """Run a simulated Stripe on loopback for a test."""
    simulated = SimulatedStripe(clock)
    async with listening(simulated.door, port) as server:
        simulated.server = server
        yield simulated
        if simulated.door.bugs:
            raise simulated.door.bugs[0]
