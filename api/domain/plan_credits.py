"""Credits that a plan brings: with which months they arrive, and what of them lives on.

A *slice* is the time for which one amount is given: a month of a paid period, a trial, or for the
plan without a subscription a month since the customer was created. What was given is known by its
source, so that the same slices at a later instant, or told again, give nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from api.domain.catalog import Catalog, PlanCredits, WindowKind
from api.domain.windows import Frame, Window, window_at

if TYPE_CHECKING:  # what a customer may do is valid until its next credits come, by ``entitle``
    from api.domain.entitlements import CustomerFacts, SubscriptionFacts

LONGEST_MONTH = timedelta(days=32)
"""A period of at most so long is one slice; a longer one is given by the month."""

_TRIALING, _ACTIVE = "trialing", "active"


@dataclass(frozen=True, slots=True)
class Slice:
    """``units`` for ``starts_at <= at < ends_at``; ``subscription`` 0 is the plan without one."""

    subscription: int
    plan: str
    starts_at: datetime
    ends_at: datetime
    units: int
    priority: int
    rollover: int = 0
    trial: bool = False

    @property
    def source(self) -> str:
        """The name of its first grant."""
        return f"{'trial' if self.trial else 'plan'}:{self._name}"

    @property
    def rollover_source(self) -> str:
        """The name of the grant of what lives on from the slice before it."""
        return f"rollover:{self._name}"

    @property
    def _name(self) -> str:
        return f"{self.subscription}:{self.starts_at:%Y-%m-%dT%H:%M:%SZ}"


class Given(NamedTuple):
    """A grant of some slice: ``left`` is what was not used by its end, or is not used yet."""

    source: str
    plan: str
    units: int
    left: int
    expires_at: datetime


class Gift(NamedTuple):
    """A grant to be given for a slice."""

    slice: Slice
    source: str
    units: int
    reason: str


def brings_any(catalog: Catalog) -> bool:
    """Tell whether any plan of this catalog brings credits."""
    return any(plan.credits is not None for plan in catalog.plans.values())


def due(
    catalog: Catalog,
    facts: CustomerFacts,
    giving: Sequence[SubscriptionFacts],
    since: datetime,
    at: datetime,
) -> tuple[Slice, ...]:
    """Return the slices that have begun by ``at`` and not ended by ``since``, earliest first.

    ``giving`` are the subscriptions that give their plan. A slice of a period begins only if it
    lies before what is paid for; one on trial needs no payment; past due nothing new begins.
    One that has ended by ``at`` matters only for what of it lives on.
    """
    found = _slices(catalog, facts, giving, since, at)
    begun = (s for s in found if s.starts_at <= at and (at < s.ends_at or s.rollover > 0))
    return tuple(sorted(begun, key=lambda s: (s.starts_at, s.subscription)))


def next_start(
    catalog: Catalog, facts: CustomerFacts, giving: Sequence[SubscriptionFacts], at: datetime
) -> datetime | None:
    """Return when the next slice begins if nothing more is heard, None if none does."""
    later = (s.starts_at for s in _slices(catalog, facts, giving, at, at) if s.starts_at > at)
    return min(later, default=None)


def gifts(slices: Iterable[Slice], known: Iterable[Given]) -> list[Gift]:
    """Return what is still to be given for ``slices``, in the order in which they are given.

    A slice's own units once; to a plan with more, of which nothing was given for the slice yet,
    the difference; and with its first grant the least of the plan's cap and what was left of the
    slice that ended where it begins. ``gifts(slices, known + gifts) == []``.
    """
    standing = {given.source: given for given in known}
    made: list[Gift] = []
    for one in slices:
        same = [g for g in standing.values() if _is_of(g.source, one.source)]
        wanted: list[Gift] = []
        if not same:
            lives_on = 0 if one.trial else min(one.rollover, _left(standing.values(), one))
            if lives_on > 0:
                wanted.append(Gift(one, one.rollover_source, lives_on, "rollover"))
            wanted.append(Gift(one, one.source, one.units, "trial" if one.trial else "plan"))
        elif one.plan not in {g.plan for g in same}:
            more = one.units - sum(g.units for g in same)
            if more > 0:
                wanted.append(Gift(one, f"{one.source}:{one.plan}", more, "upgrade"))
        for gift in wanted:
            standing[gift.source] = Given(
                gift.source, one.plan, gift.units, gift.units, one.ends_at
            )
        made += wanted
    return made


def subscription_of(source: str) -> int:
    """Return the subscription whose slice the grant of this source belongs to."""
    return int(source.split(":", 2)[1])


def _left(standing: Iterable[Given], following: Slice) -> int:
    """Return what was left of the slice that ended where ``following`` begins."""
    own = (f"plan:{following.subscription}:", f"rollover:{following.subscription}:")
    return sum(
        g.left for g in standing if g.source.startswith(own) and g.expires_at == following.starts_at
    )


def _is_of(source: str, slice_source: str) -> bool:
    return source == slice_source or source.startswith(f"{slice_source}:")


def _slices(
    catalog: Catalog,
    facts: CustomerFacts,
    giving: Sequence[SubscriptionFacts],
    since: datetime,
    at: datetime,
) -> Iterator[Slice]:
    """Yield slices that end after ``since``, up to the first of each kind that begins after at."""
    held = [s for s in giving if s.plan in catalog.plans]
    for subscription in held:
        plan = catalog.plans[subscription.plan or ""]
        if plan.credits is not None:
            yield from _of_subscription(subscription, plan.key, plan.credits, since, at)
    default = catalog.default_plan(facts.type)
    if held or default.credits is None or default.credits.units == 0:
        return
    created = facts.created_at.replace(microsecond=0)
    frame = Frame(WindowKind.MONTH, anchor=created)
    for month in _months(frame, max(since, created), at):
        if month.ends_at is not None:
            yield _slice(0, default.key, default.credits, month.starts_at, month.ends_at)


def _of_subscription(
    subscription: SubscriptionFacts, plan: str, said: PlanCredits, since: datetime, at: datetime
) -> Iterator[Slice]:
    begin, end = subscription.current_period_start, subscription.current_period_end
    if begin is None:
        return
    if subscription.status == _TRIALING:
        end = subscription.trial_ends_at or end
        if end is not None and begin < end and since < end and said.trial_units > 0:
            yield Slice(
                subscription.id, plan, begin, end, said.trial_units, said.priority, trial=True
            )
        return
    paid_until = subscription.paid_until
    if subscription.status != _ACTIVE or end is None or paid_until is None or said.units == 0:
        return
    for starts_at, ends_at in _parts(begin, end, subscription.billing_anchor, since, at):
        if starts_at < paid_until:
            yield _slice(subscription.id, plan, said, starts_at, ends_at)


def _parts(
    begin: datetime, end: datetime, anchor: datetime | None, since: datetime, at: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the months of a period that end after ``since``; the last ends with the period."""
    if end - begin <= LONGEST_MONTH:
        if since < end:
            yield begin, end
        return
    # The day of the month is the anchor's, also where the period begins on a shorter month's last.
    frame = Frame(WindowKind.MONTH, anchor=anchor or begin)
    if window_at(frame, begin).starts_at != begin:
        frame = Frame(WindowKind.MONTH, anchor=begin)
    for month in _months(frame, max(begin, since), at):
        if month.starts_at >= end:
            return
        yield month.starts_at, min(month.ends_at or end, end)


def _months(frame: Frame, since: datetime, at: datetime) -> Iterator[Window]:
    month = window_at(frame, since)
    yield month
    while month.starts_at <= at and month.ends_at is not None:
        month = window_at(frame, month.ends_at)
        yield month


def _slice(
    subscription: int, plan: str, said: PlanCredits, starts_at: datetime, ends_at: datetime
) -> Slice:
    return Slice(subscription, plan, starts_at, ends_at, said.units, said.priority, said.rollover)
