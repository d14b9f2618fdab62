"""How the provider's subscriptions and ours differ.

Both sides are told in our own words before they are compared, so a difference is always something
that would be written otherwise today.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import SubscriptionStatus
from api.domain.event_order import TERMINAL

COMPARED = (
    "customer_id",
    "status",
    "plan",
    "price",
    "pending_plan",
    "add_ons",
    "current_period_start",
    "current_period_end",
    "billing_anchor",
    "trial_ends_at",
    "cancel_at_period_end",
    "ends_at",
    "scheduled_plan",
    "scheduled_price",
    "scheduled_at",
)
"""What of a subscription the provider decides; ``paid_until`` comes of its invoices, which are
compared by themselves."""


class Kind(StrEnum):
    """In which way a subscription differs."""

    MISSING = "missing"
    """The provider has it, and we do not."""
    CHANGED = "changed"
    """Both have it, and it is not the same."""
    GONE = "gone"
    """It is live here, and the provider does not list it."""
    UNKNOWN = "unknown"
    """The provider has it for nobody whom we know."""
    UNREADABLE = "unreadable"
    """It cannot be told in our words; ``fields`` says why."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One subscription that differs; ``fields`` are (name, here, at the provider)."""

    kind: Kind
    subscription_id: str
    customer_id: int | None
    fields: tuple[tuple[str, str, str], ...] = ()

    @property
    def healable(self) -> bool:
        """Whether reading the object again puts it right."""
        return self.kind in (Kind.MISSING, Kind.CHANGED, Kind.GONE)


def difference(
    told: SubscriptionRecord,
    known: SubscriptionRecord | None,
    more: tuple[tuple[str, str, str], ...] = (),
) -> Difference | None:
    """Return how what the provider tells differs from what is known, None where it does not.

    One that ended and was never known differs in nothing that matters any more. ``more`` is what
    differs besides.
    """
    if known is None:
        if told.status in TERMINAL:
            return None
        said = (("status", "", told.status.value), ("plan", "", told.plan or ""))
        return Difference(Kind.MISSING, told.provider_id, told.customer_id, said)
    fields = tuple(
        (name, _plain(getattr(known, name)), _plain(getattr(told, name)))
        for name in COMPARED
        if getattr(known, name) != getattr(told, name)
    )
    if not fields and not more:
        return None
    return Difference(Kind.CHANGED, told.provider_id, told.customer_id, (*fields, *more))


def _plain(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(f"{key} x {quantity}" for key, quantity in value)
        case SubscriptionStatus():
            return value.value
        case _:
            return str(value)
