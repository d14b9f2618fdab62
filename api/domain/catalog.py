"""What is sold: features, plans, prices and add-ons, as immutable values.

A catalog is one document. It is applied whole as a numbered revision and never edited;
everything below the edge receives the revision it must judge by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

MAX_UNITS = 2**53 - 1
"""The largest count that is exact in JSON, in Lua and in Python alike."""


Scalar = str | int | float | bool
"""What a value feature may hold."""


class FeatureKind(StrEnum):
    """How a feature is entitled: switched, set, used up in windows, or held."""

    BOOLEAN = "boolean"
    VALUE = "value"
    METERED = "metered"
    ALLOCATION = "allocation"


class WindowKind(StrEnum):
    """The length of the interval in which units are counted, shortest first."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"
    BILLING_PERIOD = "billing_period"
    LIFETIME = "lifetime"

    # As any text's, in C: every answer looks things up by it.
    __hash__ = str.__hash__

    @property
    def code(self) -> int:
        """The number that stands for this kind in the counter store; never renumbered."""
        return _WINDOW_CODES[self]

    @staticmethod
    def from_code(code: int) -> WindowKind:
        """Return the kind that ``code`` stands for in the counter store."""
        return _WINDOWS_BY_CODE[code]


_WINDOWS_BY_CODE = tuple(WindowKind)
_WINDOW_CODES = {kind: code for code, kind in enumerate(_WINDOWS_BY_CODE)}


class Anchor(StrEnum):
    """Where a window's boundaries come from: the customer's calendar, or its billing period."""

    CALENDAR = "calendar"
    BILLING = "billing"


class Durability(StrEnum):
    """What an answer survives: ``fast`` the loss of a process, ``journaled`` that of Redis."""

    FAST = "fast"
    JOURNALED = "journaled"


class OutageMode(StrEnum):
    """What to answer while the counters cannot be reached."""

    CLOSED = "closed"
    OPEN = "open"
    BOUNDED = "bounded"


class PastDuePolicy(StrEnum):
    """Whether a customer whose payment is past due keeps what was paid for."""

    KEEP = "keep"
    WITHDRAW = "withdraw"


class Bucket(StrEnum):
    """Where granted credits come from: a paid period, a purchase for good, or a gift."""

    SUBSCRIPTION = "subscription"
    PERMANENT = "permanent"
    PROMOTIONAL = "promotional"


class Rounding(StrEnum):
    """How a cost that is no whole number of credits becomes one."""

    UP = "up"
    DOWN = "down"
    NEAREST = "nearest"


class Audience(StrEnum):
    """Whom a notice is written to: the customer's own address, or its administrators."""

    CUSTOMER = "customer"
    ADMINISTRATORS = "administrators"


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """A mode, and for ``bounded`` the units that may pass unseen per customer and feature."""

    mode: OutageMode = OutageMode.CLOSED
    units: int = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that a plan can give.

    ``replay_seconds`` is the published time for which an idempotency key keeps its answer.
    """

    key: str
    name: str
    kind: FeatureKind
    unit: str | None = None
    durability: Durability = Durability.FAST
    outage: OutagePolicy = OutagePolicy()
    replay_seconds: int = 600


@dataclass(frozen=True, slots=True)
class Limit:
    """Units that may be used per window; ``units`` None is unlimited.

    ``code`` and ``status`` replace the window's own on denial. A ``shadow`` limit judges, counts
    and reports, but lets pass. A limit with ``overage`` is what the plan includes of a feature that
    costs credits: units past it are paid with credits, and it counts only what it included.
    """

    window: WindowKind
    units: int | None
    anchor: Anchor = Anchor.CALENDAR
    code: str | None = None
    status: int | None = None
    shadow: bool = False
    overage: bool = False


@dataclass(frozen=True, slots=True)
class CreditCost:
    """What one feature costs: ``units x credits / per``, rounded, at least ``minimum``.

    Whole numbers throughout: ``per`` 1 is so many credits a unit, ``per`` 1000 a rate such as
    credits per thousand tokens. Nothing costs nothing, also where there is a minimum.
    """

    feature: str
    credits: int
    per: int = 1
    rounding: Rounding = Rounding.UP
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class PlanCredits:
    """Credits that arrive with each month of a paid period, and end with it.

    ``trial_units`` arrive instead while the subscription is on trial. Of what is left at a month's
    end up to ``rollover`` credits live on, for another month. A lower ``priority`` burns first.
    """

    units: int
    trial_units: int = 0
    rollover: int = 0
    priority: int = 50


@dataclass(frozen=True, slots=True)
class PlanFeature:
    """What one plan (or one unit of an add-on) says about one feature.

    An allocation has exactly one limit, of window ``lifetime``.
    """

    feature: str
    enabled: bool = True
    value: Scalar | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """One price; ``key`` is its lookup key at the provider, ``interval`` None is a one-off."""

    key: str
    amount_minor: int
    currency: str
    interval: str | None = None
    trial_days: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A named set of features with the prices that buy it; a higher ``rank`` is a better plan."""

    key: str
    name: str
    public: bool = True
    rank: int = 0
    customer_types: frozenset[str] = frozenset()
    prices: tuple[Price, ...] = ()
    features: Mapping[str, PlanFeature] = field(default_factory=lambda: MappingProxyType({}))
    credits: PlanCredits | None = None

    def serves(self, customer_type: str) -> bool:
        """Tell whether customers of this type may hold the plan (no types named: all may)."""
        return not self.customer_types or customer_type in self.customer_types


@dataclass(frozen=True, slots=True)
class AddOn:
    """Features bought beside one of ``plans`` (none named: beside any), times a quantity."""

    key: str
    name: str
    plans: frozenset[str] = frozenset()
    prices: tuple[Price, ...] = ()
    features: Mapping[str, PlanFeature] = field(default_factory=lambda: MappingProxyType({}))

    def sold_beside(self, plan: str) -> bool:
        """Tell whether customers of this plan may hold the add-on."""
        return not self.plans or plan in self.plans


@dataclass(frozen=True, slots=True)
class Pack:
    """Credits that are bought once.

    They end ``expires_days`` after the purchase (None: never) and pay for ``features`` only (none
    named: for all). A lower ``priority`` burns first.
    """

    key: str
    name: str
    credits: int
    public: bool = True
    bucket: Bucket = Bucket.PERMANENT
    priority: int = 100
    expires_days: int | None = None
    prices: tuple[Price, ...] = ()
    features: frozenset[str] = frozenset()
    customer_types: frozenset[str] = frozenset()

    def serves(self, customer_type: str) -> bool:
        """Tell whether customers of this type may buy the pack (no types named: all may)."""
        return not self.customer_types or customer_type in self.customer_types

    def pays_for(self, feature: str) -> bool:
        """Tell whether its credits may be spent on this feature."""
        return not self.features or feature in self.features


@dataclass(frozen=True, slots=True)
class CustomerType:
    """A kind of customer, and the plan it has without a subscription.

    With ``several_subscriptions`` it may hold several plans side by side; otherwise a second live
    subscription with a plan is one too many.
    """

    key: str
    name: str
    default_plan: str
    several_subscriptions: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that is sold, as one revision.

    ``grace_days`` past due lead to the default plan; None waits for what the provider decides.
    """

    product: str
    features: Mapping[str, Feature]
    plans: Mapping[str, Plan]
    add_ons: Mapping[str, AddOn]
    customer_types: Mapping[str, CustomerType]
    default_customer_type: str
    past_due: PastDuePolicy = PastDuePolicy.KEEP
    grace_days: int | None = None
    past_due_notice: Audience = Audience.CUSTOMER
    trial_reminder_days: int = 3
    costs: Mapping[str, CreditCost] = field(default_factory=lambda: MappingProxyType({}))
    packs: Mapping[str, Pack] = field(default_factory=lambda: MappingProxyType({}))

    def plan_of_price(self, price_key: str) -> Plan | None:
        """Return the plan that this price buys, None when no plan has it."""
        return next(
            (p for p in self.plans.values() if any(x.key == price_key for x in p.prices)), None
        )

    def add_on_of_price(self, price_key: str) -> AddOn | None:
        """Return the add-on that this price buys, None when no add-on has it."""
        return next(
            (a for a in self.add_ons.values() if any(x.key == price_key for x in a.prices)), None
        )

    def default_plan(self, customer_type: str) -> Plan:
        """Return the plan that a customer of this type has without a subscription.

        A type that the catalog does not know any more counts as the default one.
        """
        return self.plans[self.type_of(customer_type).default_plan]

    def type_of(self, customer_type: str) -> CustomerType:
        """Return a type; one that the catalog does not know any more counts as the default one."""
        known = self.customer_types.get(customer_type)
        return self.customer_types[self.default_customer_type] if known is None else known
