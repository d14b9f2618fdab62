"""What becomes of the present windows when a customer's rights change.

The law: after a change of zone, anchor or plan the present window runs to the first new boundary
at or after its old end, and its usage stays. So a window that would have ended otherwise is
*pinned*. A window that a change takes away leaves a pin too: whoever comes back to it before it
would have ended finds it as it was, and nobody gains a fresh day by going through a plan without
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from api.domain.catalog import Catalog, WindowKind
from api.domain.entitlements import CustomerFacts, Entitlements, entitle
from api.domain.windows import FIXED_SECONDS, Frame, Window, moved, window_at

Slot = tuple[str, WindowKind]
"""A feature, and one kind of window in which it is limited."""

_A_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Settled:
    """Facts brought up to an instant: what they entitle to then, and the pins that last."""

    entitlements: Entitlements
    pins: Mapping[Slot, Window]


def settle(
    catalog: Catalog, facts: CustomerFacts, valid_until: datetime | None, at: datetime
) -> Settled:
    """Live through what changed by itself from ``valid_until`` to ``at``, step by step.

    ``valid_until`` is what ``entitle`` said when the facts were last judged.
    Cost: O(steps) of ``entitle``; there is a step for each end of an override or subscription.
    """
    pins = facts.pins or {}
    step = valid_until
    while step is not None and step <= at:
        before = entitle(catalog, facts, step - _A_MOMENT)
        after = entitle(catalog, facts, step)
        pins = carried(before, after, pins, step)
        step = after.valid_until
    return Settled(entitle(catalog, facts, at), lasting(pins, at))


def carried(
    before: Entitlements, after: Entitlements, pins: Mapping[Slot, Window], at: datetime
) -> dict[Slot, Window]:
    """Return the pins that hold after ``before`` became ``after`` at that instant.

    For each slot ``s``: its window contains ``at``, begins no later than the one before began
    and ends no earlier than it would have ended.
    """
    frames = _frames(after)
    present = lasting(pins, at)
    for slot, old_frame in _frames(before).items():
        if slot not in present and frames.get(slot) == old_frame:
            continue  # nothing moves it
        present[slot] = window_at(old_frame, at, pins.get(slot))
    kept: dict[Slot, Window] = {}
    for slot, window in present.items():
        frame = frames.get(slot)
        if frame is None:
            kept[slot] = window
            continue
        following = moved(window, frame, at)
        if following != window_at(frame, at):
            kept[slot] = following
    return kept


def lasting(pins: Mapping[Slot, Window], at: datetime) -> dict[Slot, Window]:
    """Return the pins whose windows have not ended."""
    return {slot: window for slot, window in pins.items() if at in window}


def with_pins(facts: CustomerFacts, pins: Mapping[Slot, Window]) -> CustomerFacts:
    """Return the same facts with other pins."""
    return replace(facts, pins=pins)


def _frames(entitlements: Entitlements) -> dict[Slot, Frame]:
    """Return the frames that a change can move: not those of a fixed length, or without an end."""
    return {
        (key, limit.window): limit.frame
        for key, entitlement in entitlements.features.items()
        for limit in entitlement.limits
        if limit.window not in FIXED_SECONDS and limit.window is not WindowKind.LIFETIME
    }
