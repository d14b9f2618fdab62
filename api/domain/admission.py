"""The pure model of ``admit.lua``: judge all, count all or nothing.

This is the second opinion that the machine is tested against. It works on frames and instants
rather than on encoded bounds, so that an error in the encoding shows as a difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from api.domain.catalog import MAX_UNITS, FeatureKind, WindowKind
from api.domain.entitlements import EntitledLimit, Entitlement, counted
from api.domain.windows import Window, window_at

Slot = tuple[str, WindowKind]


class Action(StrEnum):
    """What a call does with its units."""

    CONSUME = "consume"
    CHECK = "check"
    RELEASE = "release"
    STATE = "state"
    PEND = "pend"
    """Consume what may cost credits: the units that they would pay for are decided elsewhere."""
    AWAIT = "await"
    """Consume, whoever pays: what else hangs on it is decided elsewhere, in any case."""
    HOLD = "hold"

    # As any text's, in C: every call looks things up by it.
    __hash__ = str.__hash__


class Outcome(StrEnum):
    """How the judge answered."""

    ALLOWED = "allowed"
    PENDING = "pending"
    """Counted, where anything counts it; and to be decided by the record."""
    DENIED = "denied"
    BELOW_ZERO = "below_zero"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Count:
    """Units counted in one window, and those among them that are held."""

    window: Window
    used: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One limit as judged: ``used`` is after the call when it was allowed, before it if denied.

    ``used`` and ``held`` are apart; a limit is full by both.
    """

    limit: EntitledLimit
    window: Window
    used: int
    full: bool
    granted: bool = True
    held: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer, the figures per item, and the counts that stand afterwards."""

    outcome: Outcome
    figures: tuple[tuple[Figure, ...] | None, ...]
    """Per item; None where the feature is not granted, and nothing of it is counted."""
    counts: Mapping[Slot, Count]
    charged: tuple[int, ...] = ()
    """Per item, the units that credits pay for, or would."""


def judge(
    action: Action,
    items: Sequence[tuple[str, int]],
    entitlements: Mapping[str, Entitlement],
    pins: Mapping[Slot, Window],
    counts: Mapping[Slot, Count],
    at: datetime,
    costing: Collection[str] = (),
) -> Judgement:
    """Judge ``items`` of (feature, units) together at that instant.

    If any item is refused, ``counts`` come back as they were. ``costing`` are the features that
    cost credits, where it is asked for: their overage limits refuse nothing and count only what
    they cover.
    Cost: O(items x limits).
    """
    after = dict(counts)
    figures: list[tuple[Figure, ...] | None] = []
    charged: list[int] = []
    outcome = Outcome.ALLOWED
    for feature, units in items:
        entitlement = entitlements.get(feature)
        limits = None if entitlement is None else counted(entitlement)
        if entitlement is None or limits is None:
            figures.append(None)
            charged.append(0)
            outcome = Outcome.DENIED
            continue
        if action in _ASKING and not entitlement.granted:
            outcome = Outcome.DENIED
        costs = feature in costing
        stand = {limit.window: _standing(limit, feature, pins, after, at) for limit in limits}
        covered = _covered(limits, stand, units) if costs else units
        charged.append(units - covered)
        row: list[Figure] = []
        for limit in limits:
            now = stand[limit.window]
            share = covered if costs and limit.overage else units
            reached = _reach(action, now, share)
            if reached < now.held:
                return Judgement(Outcome.BELOW_ZERO, (), counts)
            if reached > MAX_UNITS:
                return Judgement(Outcome.TOO_MANY, (), counts)
            full = action in _ASKING and limit.units is not None and reached > limit.units
            lets_pass = costs if limit.overage else limit.shadow
            if full and not lets_pass:
                outcome = Outcome.DENIED
            held = now.held + share if action is Action.HOLD else now.held
            after[feature, limit.window] = Count(now.window, reached, held)
            row.append(Figure(limit, now.window, reached, full, entitlement.granted, held))
        figures.append(tuple(row))
    if outcome is not Outcome.DENIED and (
        action in (Action.HOLD, Action.AWAIT) or (action is Action.PEND and any(charged))
    ):
        outcome = Outcome.PENDING
    shown = counts if outcome is Outcome.DENIED or action is Action.CHECK else after
    rows = tuple(
        row if row is None else tuple(_in(shown, feature, figure) for figure in row)
        for row, (feature, _) in zip(figures, items, strict=True)
    )
    return Judgement(outcome, rows, shown, tuple(charged))


def present(limit: EntitledLimit, pin: Window | None, known: Count | None, at: datetime) -> Window:
    """Return the window in which a call at that instant is counted; it never turns backward."""
    window = window_at(limit.frame, at, pin)
    if known is None or window.ends_at is None or known.window.ends_at is None:
        return window
    if known.window.ends_at > window.ends_at:
        return known.window
    return window


def _standing(
    limit: EntitledLimit,
    feature: str,
    pins: Mapping[Slot, Window],
    counts: Mapping[Slot, Count],
    at: datetime,
) -> Count:
    """Return what stands in the window in which a call at that instant is counted."""
    slot = (feature, limit.window)
    known = counts.get(slot)
    window = present(limit, pins.get(slot), known, at)
    if known is None or turned(known.window, window):
        return Count(window, 0)
    return replace(known, window=window)


def _covered(limits: Sequence[EntitledLimit], stand: Mapping[WindowKind, Count], units: int) -> int:
    """Return how many of ``units`` the plan includes: the least room of all overage limits."""
    included = [limit for limit in limits if limit.overage]
    rooms = [
        max(0, limit.units - stand[limit.window].used)
        for limit in included
        if limit.units is not None
    ]
    return min([units, *rooms]) if included else 0


def turned(known: Window, window: Window) -> bool:
    """Tell whether what was counted in ``known`` is over in ``window``, the one that stands now."""
    return known.ends_at is not None and known.ends_at <= window.starts_at


def _reach(action: Action, now: Count, units: int) -> int:
    if action is Action.RELEASE:
        return now.used - units
    return now.held + units if action is Action.STATE else now.used + units


def _in(counts: Mapping[Slot, Count], feature: str, figure: Figure) -> Figure:
    """Show ``figure`` as it stands in ``counts``; a repeated feature shows the same twice."""
    known = counts.get((feature, figure.limit.window))
    if known is None or turned(known.window, figure.window):
        return replace(figure, used=0, held=0)
    return replace(figure, used=known.used - known.held, held=known.held)


_ASKING = frozenset({Action.CONSUME, Action.CHECK, Action.PEND, Action.AWAIT, Action.HOLD})

COUNTED_KINDS = frozenset({FeatureKind.METERED, FeatureKind.ALLOCATION})
"""Kinds that a call can consume; the others can only be checked."""
