"""The pure model of ``admit.lua``: judge all, count all or nothing.

This is the second opinion that the machine is tested against. It works on frames and instants
rather than on encoded bounds, so that an error in the encoding shows as a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Outcome(StrEnum):
    """How the judge answered."""

    ALLOWED = "allowed"
    DENIED = "denied"
    BELOW_ZERO = "below_zero"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Count:
    """Units counted in one window."""

    window: Window
    used: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One limit as judged: ``used`` is after the call when it was allowed, before it if denied."""

    limit: EntitledLimit
    window: Window
    used: int
    full: bool
    granted: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer, the figures per item, and the counts that stand afterwards."""

    outcome: Outcome
    figures: tuple[tuple[Figure, ...] | None, ...]
    """Per item; None where the feature is not granted, and nothing of it is counted."""
    counts: Mapping[Slot, Count]


def judge(
    action: Action,
    items: Sequence[tuple[str, int]],
    entitlements: Mapping[str, Entitlement],
    pins: Mapping[Slot, Window],
    counts: Mapping[Slot, Count],
    at: datetime,
) -> Judgement:
    """Judge ``items`` of (feature, units) together at that instant.

    If any item is refused, ``counts`` come back as they were.
    Cost: O(items x limits).
    """
    after = dict(counts)
    figures: list[tuple[Figure, ...] | None] = []
    outcome = Outcome.ALLOWED
    for feature, units in items:
        entitlement = entitlements.get(feature)
        limits = None if entitlement is None else counted(entitlement)
        if entitlement is None or limits is None:
            figures.append(None)
            outcome = Outcome.DENIED
            continue
        asking = action in (Action.CONSUME, Action.CHECK)
        if asking and not entitlement.granted:
            outcome = Outcome.DENIED
        row: list[Figure] = []
        for limit in limits:
            slot = (feature, limit.window)
            window = present(limit, pins.get(slot), after.get(slot), at)
            known = after.get(slot)
            turned = known is None or _turned(known.window, window)
            used = 0 if known is None or turned else known.used
            reached = _reach(action, used, units)
            full = asking and limit.units is not None and reached > limit.units
            if reached < 0:
                return Judgement(Outcome.BELOW_ZERO, (), counts)
            if reached > MAX_UNITS:
                return Judgement(Outcome.TOO_MANY, (), counts)
            if full and not limit.shadow:
                outcome = Outcome.DENIED
            after[slot] = Count(window, reached)
            row.append(Figure(limit, window, reached, full, entitlement.granted))
        figures.append(tuple(row))
    shown = counts if outcome is Outcome.DENIED or action is Action.CHECK else after
    rows = tuple(
        row if row is None else tuple(_in(shown, feature, figure) for figure in row)
        for row, (feature, _) in zip(figures, items, strict=True)
    )
    return Judgement(outcome, rows, shown)


def present(limit: EntitledLimit, pin: Window | None, known: Count | None, at: datetime) -> Window:
    """Return the window in which a call at that instant is counted; it never turns backward."""
    window = window_at(limit.frame, at, pin)
    if known is None or window.ends_at is None or known.window.ends_at is None:
        return window
    if known.window.ends_at > window.ends_at:
        return known.window
    return window


def _turned(known: Window, window: Window) -> bool:
    return known.ends_at is not None and known.ends_at <= window.starts_at


def _reach(action: Action, used: int, units: int) -> int:
    if action is Action.RELEASE:
        return used - units
    return units if action is Action.STATE else used + units


def _in(counts: Mapping[Slot, Count], feature: str, figure: Figure) -> Figure:
    """Show ``figure`` as it stands in ``counts``; a repeated feature shows the same twice."""
    known = counts.get((feature, figure.limit.window))
    used = 0 if known is None or _turned(known.window, figure.window) else known.used
    return replace(figure, used=used)


COUNTED_KINDS = frozenset({FeatureKind.METERED, FeatureKind.ALLOCATION})
"""Kinds that a call can consume; the others can only be checked."""
