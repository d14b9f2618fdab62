"""How a span of time is cut into the points of a usage history."""

from __future__ import annotations

from datetime import datetime, timedelta

from api.domain.catalog import WindowKind
from api.domain.entitlements import Entitlements
from api.domain.errors import InvalidInput
from api.domain.windows import FIXED_SECONDS, Frame, Window, window_at

MOST_POINTS = 400
"""A year by days, with room for a leap day."""
USUAL_POINTS = 30

_YEAR_MONTHS = 12


def frame_of(entitlements: Entitlements, feature: str, by: WindowKind, zone: str) -> Frame:
    """Return how windows of this kind lie: as the feature's own limit, else by the calendar.

    Raises: InvalidInput, for billing periods of a feature that is not limited by them.
    """
    entitlement = entitlements.features[feature]
    own = next((x.frame for x in entitlement.limits if x.window is by), None)
    if own is not None:
        return own
    if by is WindowKind.BILLING_PERIOD:
        raise InvalidInput(f"{feature} has no limit by billing period; ask by MONTH or DAY.")
    return Frame(by, zone=zone)


def cut(frame: Frame, start: datetime | None, end: datetime, since: datetime) -> tuple[Window, ...]:
    """Cut ``[start, end)`` at the frame's boundaries; the first and last piece may be shorter.

    Without a ``start`` it reaches back over the last windows, as many as fit ``USUAL_POINTS``, but
    not before ``since``. Their union is the span, so their units add up to it.
    Raises: InvalidInput, for an empty span, and for one of too many points.
    """
    if start is None:
        earliest = min(since, end)
        if frame.kind is not WindowKind.LIFETIME:
            earliest = window_at(frame, max(_back(frame, end), earliest)).starts_at
        start = earliest
    elif start >= end:
        raise InvalidInput("from must lie before to.")
    if frame.kind is WindowKind.LIFETIME:
        return (Window(start, end),) if start < end else ()
    if (end - start) / _shortest(frame) > MOST_POINTS:
        raise InvalidInput(f"That is more than {MOST_POINTS} points; ask for less, or coarser.")
    pieces: list[Window] = []
    while start < end:
        piece = Window(start, min(window_at(frame, start).ends_at or end, end))
        pieces.append(piece)
        start = piece.ends_at or end
    return tuple(pieces)


def _back(frame: Frame, end: datetime) -> datetime:
    try:
        return end - USUAL_POINTS * _shortest(frame)
    except OverflowError:
        return end


def _shortest(frame: Frame) -> timedelta:
    if frame.kind in FIXED_SECONDS:
        return timedelta(seconds=FIXED_SECONDS[frame.kind])
    days = {WindowKind.DAY: 1, WindowKind.WEEK: 7, WindowKind.MONTH: 28}.get(frame.kind)
    if days is None:
        months = _YEAR_MONTHS if frame.kind is WindowKind.YEAR else frame.period_months
        days = 365 if months == _YEAR_MONTHS else 28 * months
    # A local day may be an hour short where clocks change.
    return timedelta(days=days) - timedelta(hours=1)
