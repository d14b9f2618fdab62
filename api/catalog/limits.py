"""What a plan or an add-on says about one feature, read from the catalog file."""

from __future__ import annotations

import re

from api.catalog.fields import Table, hint, one_of, shown
from api.catalog.text import is_clean
from api.domain import codes, errors
from api.domain.catalog import (
    MAX_UNITS,
    Anchor,
    FeatureKind,
    Limit,
    PlanFeature,
    WindowKind,
)

UNLIMITED = "unlimited"
OVERAGE = "credits"

STATUSES = (codes.PAYING_HELPS, codes.NOTHING_HELPS, codes.WAITING_HELPS)

_WINDOWS = [kind.value for kind in WindowKind]
_CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_CODE_LETTERS = 64
_LONGEST_VALUE = 1000
_NEVER_ANCHORED = frozenset({WindowKind.MINUTE, WindowKind.HOUR, WindowKind.LIFETIME})

_RESERVED = frozenset(
    {
        codes.FEATURE_NOT_IN_PLAN,
        codes.FEATURE_UNAVAILABLE,
        codes.PAYMENT_REQUIRED,
        codes.INSUFFICIENT_CREDITS,
        *(error.code for error in vars(errors).values() if hasattr(error, "code")),
    }
)
"""Codes that mean something else than a full window."""

_WINDOW_OF_CODE = {code: kind for kind, code in codes.CAP_CODES.items()} | {
    codes.ALLOCATION_EXCEEDED: WindowKind.LIFETIME
}


def read_offer(table: Table, feature: str, kind: FeatureKind) -> PlanFeature | None:
    """Read what ``table`` gives of ``feature``; None where that makes no sense (and was noted).

    ``false`` is the same for every kind: not given.
    """
    value = table.raw(feature)
    if value is False and kind is not FeatureKind.VALUE:
        return PlanFeature(feature, enabled=False)
    match kind:
        case FeatureKind.BOOLEAN:
            return _boolean(table, feature, value)
        case FeatureKind.VALUE:
            return _value(table, feature, value)
        case FeatureKind.METERED:
            return _metered(table, feature, value)
        case FeatureKind.ALLOCATION:
            return _allocation(table, feature, value)


def _boolean(table: Table, feature: str, value: object) -> PlanFeature | None:
    if value is not True:
        table.note(feature, f"boolean feature {feature} must be true or false, not {shown(value)}")
        return None
    return PlanFeature(feature)


def _value(table: Table, feature: str, value: object) -> PlanFeature | None:
    if not isinstance(value, str | int | float):
        table.note(
            feature, f"value feature {feature} must be a number or a text, not {shown(value)}"
        )
        return None
    if isinstance(value, str) and not (len(value) <= _LONGEST_VALUE and is_clean(value)):
        table.note(feature, f"{feature} must be one line of at most {_LONGEST_VALUE} characters")
        return None
    if not isinstance(value, str) and not -MAX_UNITS <= value <= MAX_UNITS:
        table.note(feature, f"{feature} must lie within 2^53 - 1 of zero, to be exact in JSON")
        return None
    return PlanFeature(feature, value=value)


def _metered(table: Table, feature: str, value: object) -> PlanFeature | None:
    if value == UNLIMITED:
        return PlanFeature(feature)
    if not isinstance(value, dict) or not value:
        table.note(
            feature,
            f"metered feature {feature} must be a table of windows such as {{ month = 300 }}, "
            f'"{UNLIMITED}" or false, not {shown(value) if value != {} else "an empty table"}',
        )
        return None
    windows = Table(value, (*table.path, feature), table.notes)
    limits: dict[WindowKind, Limit] = {}
    for name in windows.names():
        if name not in _WINDOWS:
            windows.note(
                name, f"window must be {one_of(_WINDOWS)}, not {shown(name)}{hint(name, _WINDOWS)}"
            )
            continue
        window = WindowKind(name)
        limit = _limit(windows, name, window)
        if limit is not None:
            limits[window] = limit
    return PlanFeature(feature, limits=tuple(limits[kind] for kind in WindowKind if kind in limits))


def _allocation(table: Table, feature: str, value: object) -> PlanFeature | None:
    if isinstance(value, dict):
        windows = [name for name in value if name in _WINDOWS]
        for name in windows:
            table.notes.add(
                (*table.path, feature, name),
                f"an allocation never resets, so {feature} has no window: write {feature} = units",
            )
        if windows:
            return None
    limit = _limit(table, feature, WindowKind.LIFETIME)
    return None if limit is None else PlanFeature(feature, limits=(limit,))


def _limit(table: Table, key: str, window: WindowKind) -> Limit | None:
    """Read one limit: units alone, or a table of ``units`` and what belongs to them."""
    anchored = Anchor.BILLING if window is WindowKind.BILLING_PERIOD else Anchor.CALENDAR
    if not isinstance(table.raw(key), dict):
        known, units = _units(table, key)
        return Limit(window, units, anchored) if known else None
    detail = table.table(key)
    if detail is None:
        return None
    if "units" not in detail:
        detail.missing("units")
    known, units = _units(detail, "units")
    limit = Limit(
        window,
        units,
        anchor=_anchor(detail, window) or anchored,
        code=_code(detail, window),
        status=_status(detail, window),
        shadow=detail.flag("shadow", default=False),
        overage=_overage(detail),
    )
    detail.close()
    return limit if known else None


def _overage(table: Table) -> bool:
    """Read whether units past the limit are paid with credits, instead of refused."""
    overage = table.raw("overage")
    if overage is None:
        return False
    if overage != OVERAGE:
        table.note("overage", f'overage must be "{OVERAGE}", not {shown(overage)}')
        return False
    for key in ("code", "status"):
        if key in table:
            table.note(key, f"what is over is paid with credits, not refused: it has no {key}")
    if table.raw("shadow") is True:
        table.note("shadow", "what is over is paid with credits: there is nothing to shadow")
    return True


def _units(table: Table, key: str) -> tuple[bool, int | None]:
    """Read units: whether they make sense, and how many (None: unlimited)."""
    value = table.raw(key)
    if value == UNLIMITED:
        return True, None
    if value is None:
        return False, None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and isinstance(value, int) and 0 <= value <= MAX_UNITS:
        return True, value
    table.note(
        key,
        f'{key} must be a whole number from 0 to 2^53 - 1, or "{UNLIMITED}", not {shown(value)}',
    )
    return False, None


def _anchor(table: Table, window: WindowKind) -> Anchor | None:
    anchor = table.choice("anchor", Anchor)
    if anchor is Anchor.BILLING and window in _NEVER_ANCHORED:
        table.note("anchor", f"a window of {window} has no anchor")
        return None
    if anchor is Anchor.CALENDAR and window is WindowKind.BILLING_PERIOD:
        table.note("anchor", "a billing period cannot follow the calendar; use month or year")
        return None
    return anchor


def _code(table: Table, window: WindowKind) -> str | None:
    code = table.raw("code")
    if code is None:
        return None
    if not isinstance(code, str) or not _CODE.fullmatch(code) or len(code) > _CODE_LETTERS:
        table.note(
            "code",
            f"code must be upper-case words joined by _, up to {_CODE_LETTERS} letters, "
            f"not {shown(code)}",
        )
        return None
    if code in _RESERVED:
        table.note("code", f"code {code} is taken: it never means a full window")
        return None
    if _WINDOW_OF_CODE.get(code, window) is not window:
        table.note("code", f"code {code} says {_WINDOW_OF_CODE[code]}, but the window is {window}")
        return None
    return code


def _status(table: Table, window: WindowKind) -> int | None:
    status = table.raw("status")
    if status is None:
        return None
    if isinstance(status, bool) or not isinstance(status, int) or status not in STATUSES:
        table.note("status", f"status must be 402, 403 or 429, not {shown(status)}")
        return None
    if status == codes.WAITING_HELPS and window is WindowKind.LIFETIME:
        table.note("status", "429 promises that waiting helps, and this limit never resets")
        return None
    return status
