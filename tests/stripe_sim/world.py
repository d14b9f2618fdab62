"""All that the simulated account is: objects, time, events, and how payments end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.stripe_sim.cards import Cards
from tests.stripe_sim.events import Events
from tests.stripe_sim.shapes import new
from tests.stripe_sim.store import Store
from tests.stripe_sim.timeline import DAY, Clock, Timeline

if TYPE_CHECKING:
    from tests.stripe_sim.planning import Plan

Json = dict[str, Any]


class World:
    """One account in one sandbox. Ids are counted, so that a run repeats itself."""

    def __init__(self, clock: Clock, *, tag: str = "") -> None:
        self.time = Timeline(clock)
        self.store = Store()
        self.cards = Cards()
        self.events = Events(self.store, self.time, self.name)
        self.account = "acct_00000001"
        """The account that every key is of."""
        self.draft_seconds = 3600
        """How long the invoice of a renewal stays a draft."""
        self.retry_days = (3, 5, 7)
        """How many days after each failure a renewal's payment is tried again."""
        self.after_retries = "cancel"
        """What follows a payment tried in vain: cancel, unpaid or past_due."""
        self.sold: dict[str, list[Json]] = {}
        """The lines of each checkout session."""
        self.asked: dict[str, Json] = {}
        """What opened each checkout session."""
        self.gone: set[str] = set()
        """The customers that were deleted."""
        self.billed: dict[str, list[str]] = {}
        """The invoices of each subscription."""
        self.prorations: dict[str, list[Json]] = {}
        """The lines that wait for each subscription's next invoice."""
        self.plans: dict[str, tuple[Plan, Json]] = {}
        """The changes that wait for an invoice to be paid, with that invoice."""
        self.hidden: dict[str, Json] = {}
        """What of each price is shown only to who expands it."""
        self.watched: set[tuple[str, int]] = set()
        self._tag = tag
        self._numbers: dict[str, count[int]] = {}

    @property
    def now(self) -> int:
        """The present second."""
        return self.time.now

    def name(self, prefix: str) -> str:
        """Return the next id with that prefix."""
        number = next(self._numbers.setdefault(prefix, count(1)))
        return f"{prefix}_{self._tag}{number:08}"

    def make(self, kind: str, prefix: str, **fields: Any) -> Json:
        """Hold a new object."""
        made = new(kind, **{"id": self.name(prefix), **fields})
        if "created" in made and not made["created"]:
            made["created"] = self.now
        return self.store.add(made)

    def at(self, when: int, do: Callable[[], None]) -> None:
        """Do something once that instant has come."""
        self.time.at(when, do)

    def in_days(self, days: float) -> int:
        """Return the second so many days from now."""
        return self.now + int(days * DAY)
