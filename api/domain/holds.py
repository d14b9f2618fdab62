"""Holds as a rule: what may become of one, and what each change takes of what it had set aside.

Equals what ``credits_resolve`` does to a row of ``holds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from api.domain.catalog import CreditCost
from api.domain.credits import Burned, cost_of

_ENDS = {"capture": "captured", "void": "voided", "expire": "expired"}


class Verdict(IntEnum):
    """What came of an operation; the numbers are those of ``credits_charge`` and its sibling."""

    DONE = 1
    INSUFFICIENT = 2
    REPLAYED = 3
    CONFLICT = 4
    UNKNOWN = 8
    RESOLVED = 9
    EXPIRED = 10
    TOO_MUCH = 11
    NOT_LATER = 12


class Item(NamedTuple):
    """Units of one feature; the last ``charged`` of them cost ``credits``."""

    feature: str
    units: int
    charged: int
    credits: int


class Change(NamedTuple):
    """What is to be done with a hold: ``kind`` is capture, void, extend or expire.

    ``units`` None captures all that is left; ``final`` gives back what is not captured.
    """

    kind: str
    hold: str
    units: int | None = None
    final: bool = True
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Units and the credits for them, set aside; ``parts`` are the grants in burn order.

    ``0 <= captured <= units``, ``0 <= spent <= credits == sum(parts)``.
    """

    id: str
    item: Item
    cost: CreditCost
    expires_at: datetime
    parts: tuple[Burned, ...]
    captured: int = 0
    spent: int = 0
    version: int = 0
    state: str = "open"

    @property
    def paying(self) -> int:
        """Of the units captured those that credits pay for: what the plan included goes first."""
        return max(0, self.captured - (self.item.units - self.item.charged))

    def judged(self, change: Change, at: datetime) -> Verdict:
        """Tell whether a change may be carried out at that instant; the first reason counts."""
        due = self.expires_at <= at
        later = change.until is not None and change.until > self.expires_at
        if self.state != "open":
            return Verdict.RESOLVED
        if due and change.kind in {"capture", "extend"}:
            return Verdict.EXPIRED
        if (change.kind == "expire" and not due) or (change.kind == "extend" and not later):
            return Verdict.NOT_LATER
        if change.kind == "capture" and self._asked(change) > self.item.units - self.captured:
            return Verdict.TOO_MUCH
        return Verdict.DONE

    def after(self, change: Change) -> Hold:
        """Return what the change makes of it, where it may be carried out.

        Nothing is taken back: ``spent`` never falls. What is captured costs as its units would
        have, taken together, and all of them cost what was set aside.
        """
        if change.kind == "extend":
            return replace(self, expires_at=change.until or self.expires_at)
        asked = self._asked(change) if change.kind == "capture" else 0
        now = replace(self, captured=self.captured + asked, version=self.version + 1)
        if now.paying == self.item.charged:
            spent = self.item.credits
        else:
            spent = min(self.item.credits, cost_of(self.cost, now.paying))
        goes_on = change.kind == "capture" and not change.final and now.captured < self.item.units
        return replace(now, spent=spent, state="open" if goes_on else _ENDS[change.kind])

    def between(self, begin: int, end: int) -> Iterator[Burned]:
        """Yield what of the parts, laid end to end, lies in ``[begin, end)``."""
        lower = 0
        for part in self.parts:
            upper = lower + part.credits
            if min(end, upper) > max(begin, lower):
                yield Burned(part.grant, min(end, upper) - max(begin, lower))
            lower = upper

    def _asked(self, change: Change) -> int:
        return self.item.units - self.captured if change.units is None else change.units
