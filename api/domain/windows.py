"""Where the windows of a limit begin and end.

A *frame* says how boundaries are laid: by a calendar in a time zone, or from a billing anchor.
Boundaries are whole seconds. Every window is half open: ``starts_at <= at < ends_at``.

After a change of zone, anchor or plan the present window runs to the first new boundary at or
after its old end. Such a window is a *pin*: it stands before the frame's own boundaries, so
nobody gets a fresh day by moving the clock.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from api.domain.catalog import WindowKind

FIXED_SECONDS = {
    WindowKind.MINUTE: 60,
    WindowKind.HOUR: 3600,
}
"""Windows whose length never depends on a calendar; they begin at multiples of it since 1970."""

_DAYS = {WindowKind.DAY: 1, WindowKind.WEEK: 7}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval; ``ends_at`` None never ends."""

    starts_at: datetime
    ends_at: datetime | None

    def __contains__(self, at: datetime) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Frame:
    """How the boundaries of one window kind are laid.

    With ``anchor`` None they follow the calendar of ``zone``; otherwise they lie at ``anchor``
    plus multiples of the kind's length (``period_months`` for a billing period), months clamped
    to their last day from the anchor's own day: 31 January, 28 February, 31 March.
    """

    kind: WindowKind
    zone: str = "UTC"
    anchor: datetime | None = None
    period_months: int = 1


def window_at(frame: Frame, at: datetime, pin: Window | None = None) -> Window:
    """Return the window that contains ``at``.

    ``pin`` wins while it lasts. Its end must be a boundary of ``frame``.
    """
    if pin is not None and at in pin:
        return pin
    if frame.kind is WindowKind.LIFETIME:
        return Window(_BEGINNING, None)
    index = _guess(frame, at)
    start = _boundary(frame, index)
    while start > at:
        index -= 1
        start = _boundary(frame, index)
    end = _boundary(frame, index + 1)
    while end <= at:
        index += 1
        start, end = end, _boundary(frame, index + 1)
    return Window(start, end)


def next_windows(frame: Frame, at: datetime, count: int, pin: Window | None = None) -> list[Window]:
    """Return the window that contains ``at`` and those after it, ``count`` in all, adjoining."""
    windows = [window_at(frame, at, pin)]
    while len(windows) < count:
        end = windows[-1].ends_at
        if end is None:
            break
        windows.append(window_at(frame, end, pin))
    return windows


def moved(old: Window, new: Frame, at: datetime) -> Window:
    """Return the present window after its frame became ``new``.

    It keeps its start and runs to the first new boundary at or after its old end; ``at`` lies
    within ``old``. A window that never ends, or a new frame that never turns, needs no pin.
    """
    if old.ends_at is None or new.kind is WindowKind.LIFETIME:
        return window_at(new, at)
    reached = window_at(new, old.ends_at)
    end = old.ends_at if reached.starts_at == old.ends_at else reached.ends_at
    return Window(old.starts_at, end)


def _guess(frame: Frame, at: datetime) -> int:
    start = frame.anchor or _BEGINNING
    days = (at - start).days
    match frame.kind:
        case WindowKind.MINUTE | WindowKind.HOUR:
            return int((at - _BEGINNING).total_seconds()) // FIXED_SECONDS[frame.kind]
        case WindowKind.DAY:
            return days
        case WindowKind.WEEK:
            return days // 7
        case _:
            months = (at.year - start.year) * 12 + at.month - start.month
            return months // _months(frame)


def _months(frame: Frame) -> int:
    match frame.kind:
        case WindowKind.YEAR:
            return 12
        case WindowKind.BILLING_PERIOD:
            return frame.period_months
        case _:
            return 1


def _boundary(frame: Frame, index: int) -> datetime:
    """Return the start of window number ``index`` of ``frame``; it grows with it.

    Two are equal only where a zone left out a whole day: that day has no window.
    """
    seconds = FIXED_SECONDS.get(frame.kind)
    if seconds is not None:
        return _BEGINNING + timedelta(seconds=index * seconds)
    if frame.anchor is None:
        return _calendar_start(frame.kind, frame.zone, index, _months(frame))
    days = _DAYS.get(frame.kind)
    if days is not None:
        return frame.anchor + timedelta(days=index * days)
    return _plus_months(frame.anchor, index * _months(frame))


# Whoever lives in one zone has the same days and months, and a catalog may move a million of them.
@lru_cache(maxsize=4096)
def _calendar_start(kind: WindowKind, zone: str, index: int, months: int) -> datetime:
    days = _DAYS.get(kind)
    if days is not None:
        # 1970-01-01 was a Thursday; weeks begin on Monday, three days before it.
        offset = -3 if kind is WindowKind.WEEK else 0
        day = (_BEGINNING + timedelta(days=index * days + offset)).date()
        return _local_start(datetime.combine(day, time(0)), ZoneInfo(zone))
    month = 1970 * 12 + index * months
    wall = datetime(month // 12, month % 12 + 1, 1)  # noqa: DTZ001 - wall time
    return _local_start(wall, ZoneInfo(zone))


def _local_start(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day.

    Where a change of clocks skips midnight the day begins at the first instant after the gap;
    where it repeats midnight, at the first of the two.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # In a gap fold=0 uses the offset before the change, which lands after the gap by its length.
    before, after = first - timedelta(days=1), first
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).date() < wall.date():
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _plus_months(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last_day = monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last_day))
