"""The codes of denials and errors, and the status that each has."""

from __future__ import annotations

from api.domain.catalog import WindowKind

FEATURE_NOT_IN_PLAN = "FEATURE_NOT_IN_PLAN"
FEATURE_UNAVAILABLE = "FEATURE_UNAVAILABLE"
PAYMENT_REQUIRED = "PAYMENT_REQUIRED"
ALLOCATION_EXCEEDED = "ALLOCATION_EXCEEDED"
INSUFFICIENT_CREDITS = "INSUFFICIENT_CREDITS"

OK = 200
PAYING_HELPS = 402
WAITING_HELPS = 429
NOTHING_HELPS = 403

CAP_CODES = {
    WindowKind.MINUTE: "MINUTE_CAP_EXCEEDED",
    WindowKind.HOUR: "HOURLY_CAP_EXCEEDED",
    WindowKind.DAY: "DAILY_CAP_EXCEEDED",
    WindowKind.WEEK: "WEEKLY_CAP_EXCEEDED",
    WindowKind.MONTH: "MONTHLY_CAP_EXCEEDED",
    WindowKind.YEAR: "YEARLY_CAP_EXCEEDED",
    WindowKind.BILLING_PERIOD: "BILLING_PERIOD_CAP_EXCEEDED",
    WindowKind.LIFETIME: "LIFETIME_CAP_EXCEEDED",
}

UP_TO_A_DAY = frozenset({WindowKind.MINUTE, WindowKind.HOUR, WindowKind.DAY})
"""Windows for which waiting always helps."""


def default_status(window: WindowKind, *, helped: bool) -> int:
    """Return the status of a full window; ``helped``: a public plan or pack would allow more."""
    if window in UP_TO_A_DAY:
        return WAITING_HELPS
    if helped:
        return PAYING_HELPS
    return NOTHING_HELPS if window is WindowKind.LIFETIME else WAITING_HELPS


def docs_of(code: str) -> str:
    """Return where the page of this code lies, relative to the documentation's root."""
    return f"errors/{code}.md"
