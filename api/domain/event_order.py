"""Which of two states of one object is the newer, where only events tell of it.

Events arrive in any order, more than once, and their instants are whole seconds. So the order is
total and made of facts of the event alone: what stands in the end is the greatest, whatever the
order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.domain.entitlements import SubscriptionStatus

TERMINAL = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED})
"""Statuses that nothing follows."""

_COURSE = (
    SubscriptionStatus.INCOMPLETE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
    SubscriptionStatus.PAUSED,
    SubscriptionStatus.INCOMPLETE_EXPIRED,
    SubscriptionStatus.CANCELED,
)
_PLACES = {status: place for place, status in enumerate(_COURSE)}


@dataclass(frozen=True, slots=True, order=True)
class EventRank:
    """The place of one event's state among all those told of the same object.

    The newest ``created_at`` wins. Of equal ones a terminal status wins, then the status that
    comes later in the course of a subscription, then the greater event id.
    """

    created_at: datetime
    terminal: bool
    place: int
    event_id: str


def rank_of(created_at: datetime, status: SubscriptionStatus, event_id: str) -> EventRank:
    """Return the rank of the state that this event told."""
    return EventRank(created_at, status in TERMINAL, _PLACES[status], event_id)


def supersedes(told: EventRank, known: EventRank | None) -> bool:
    """Tell whether ``told`` is to be written over ``known``; the same event again is not."""
    return known is None or told > known
