"""Plain sums of what one customer was given, used and holds, and the plans they are judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.domain.catalog import CreditCost
from api.domain.credits import cost_of

CATALOG = """
product = "test"
[customer_types.business]
default_plan = "free"
[features.chat]
kind = "metered"
replay_seconds = 86400
[features.claim]
kind = "metered"
replay_seconds = 86400
[features.call]
kind = "metered"
replay_seconds = 86400
[costs.chat]
credits = 2
per = 3
minimum = 1
[costs.claim]
credits = 5
[plans.free.features]
chat.day = { units = 4, overage = "credits" }
chat.month = 40
claim = "unlimited"
call = { day = 12, month = 30 }
[plans.pro]
[plans.pro.prices.pro]
amount_minor = 100
currency = "usd"
interval = "month"
[plans.pro.features]
chat.month = { units = 25, overage = "credits" }
chat.day = 18
claim.day = 4
call = { day = 20 }
[plans.open]
[plans.open.prices.open]
amount_minor = 300
currency = "usd"
interval = "month"
[plans.open.features]
chat = "unlimited"
claim = { month = { units = 2, overage = "credits" } }
call = "unlimited"
"""
Limits = Mapping[str, Sequence[tuple[str, int, bool]]]
PLANS: Mapping[str, Limits] = {
    "free": {
        "chat": [("day", 4, True), ("month", 40, False)],
        "claim": [],
        "call": [("day", 12, False), ("month", 30, False)],
    },
    "pro": {
        "chat": [("month", 25, True), ("day", 18, False)],
        "claim": [("day", 4, False)],
        "call": [("day", 20, False)],
    },
    "open": {"chat": [], "claim": [("month", 2, True)], "call": []},
}
COSTS = {
    "chat": CreditCost("chat", 2, 3, minimum=1),
    "claim": CreditCost("claim", 5),
}
FEATURES = ("chat", "claim", "call")


@dataclass
class Given:
    """Credits that were given, and what is available of them."""

    priority: int
    expires_at: datetime | None
    number: int
    available: int
    features: frozenset[str] | None

    def usable(self, at: datetime) -> int:
        return 0 if self.expires_at is not None and self.expires_at <= at else self.available


@dataclass
class Counted:
    """Units that count: a consumption (nothing of it is held), or a hold."""

    at: datetime
    feature: str
    units: int
    charged: int
    paid: list[tuple[Given, int]]
    expires_at: datetime | None = None
    captured: int = 0
    spent: int = 0
    open: bool = False

    @property
    def in_use(self) -> int:
        return self.units if self.expires_at is None or self.open else self.captured

    @property
    def covered(self) -> int:
        return min(self.in_use, self.units - self.charged)

    @property
    def held(self) -> int:
        return self.units - self.captured if self.open else 0

    @property
    def held_covered(self) -> int:
        return max(0, self.covered - self.captured) if self.open else 0

    def resolve(self, take: int, *, ends: bool) -> None:
        """Take units for good; where that ends it, give the rest back."""
        self.captured += take
        paid_units = max(0, self.captured - (self.units - self.charged))
        whole = sum(credits_ for _, credits_ in self.paid)
        due = whole
        if paid_units != self.charged:
            due = min(whole, cost_of(COSTS[self.feature], paid_units))
        if ends or self.captured == self.units:
            self.open = False
            # The grants that burned last get back first.
            left = whole - due
            for given, credits_ in reversed(self.paid):
                back = min(left, credits_)
                given.available += back
                left -= back
        self.spent = due


@dataclass
class Model:
    """Plain sums."""

    plan: str = "free"
    grants: list[Given] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)

    def windows(self, feature: str, at: datetime) -> list[tuple[str, bool, int, int]]:
        """Return per limit its window, whether it is what the plan includes, used and held."""
        found = []
        for window, _, overage in PLANS[self.plan][feature]:
            since = at.replace(hour=0, minute=0, second=0, microsecond=0)
            since = since.replace(day=1) if window == "month" else since
            mine = [c for c in self.counted if c.feature == feature and c.at >= since]
            held = sum(c.held_covered if overage else c.held for c in mine)
            used = sum(c.covered if overage else c.in_use for c in mine) - held
            found.append((window, overage, used, held))
        return found

    def charged(self, feature: str, units: int, at: datetime) -> int | None:
        """Return the units that credits would pay for; None where a cap is full."""
        limits = PLANS[self.plan][feature]
        covered = 0 if feature in COSTS else units
        rooms = []
        for (_, limit, overage), (_, _, used, held) in zip(
            limits, self.windows(feature, at), strict=True
        ):
            if overage:
                rooms.append(max(0, limit - used - held))
            elif used + held + units > limit:
                return None
        if rooms:
            covered = min(units, *rooms)
        return units - covered

    def balance(self, at: datetime) -> int:
        return sum(given.usable(at) for given in self.grants)

    def take(self, items: Sequence[tuple[str, int]], at: datetime) -> list[Counted] | None:
        """Count all of it, or nothing: None."""
        before = [given.available for given in self.grants]
        made = []
        for feature, units in items:
            charged = self.charged(feature, units, at)
            paid = None if charged is None else self.burn(feature, charged, at)
            if charged is None or paid is None:
                for given, available in zip(self.grants, before, strict=True):
                    given.available = available
                return None
            made.append(Counted(at, feature, units, charged, paid))
        self.counted += made
        return made

    def burn(self, feature: str, units: int, at: datetime) -> list[tuple[Given, int]] | None:
        left = cost_of(COSTS[feature], units) if units else 0
        paid = []
        never = datetime.max.replace(tzinfo=UTC)
        for given in sorted(
            self.grants, key=lambda g: (g.priority, g.expires_at or never, g.number)
        ):
            if given.features is None or feature in given.features:
                part = min(left, given.usable(at))
                given.available -= part
                left -= part
                if part:
                    paid.append((given, part))
        return None if left else paid
