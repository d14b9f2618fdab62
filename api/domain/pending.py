"""The pure models of ``undo.lua`` and ``resolve.lua``: what is taken back of an attempt or a hold.

Both act on the windows in which the units were counted; one that has turned since keeps nothing of
them, and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from api.domain.admission import Count, Judgement, Slot, turned
from api.domain.windows import Window


class HoldFigures(NamedTuple):
    """A hold as of a ``version`` of it: units that count, units held, and of either the covered."""

    version: int
    units: int
    covered: int
    held: int
    held_covered: int


@dataclass(frozen=True, slots=True)
class CountedHold:
    """A hold as the counters know it.

    ``slots`` are those that count it: the window in which they did, and whether they count only
    what the plan includes.
    """

    figures: HoldFigures
    slots: Mapping[Slot, tuple[Window, bool]]


def placed(feature: str, units: int, judged: Judgement) -> CountedHold:
    """Return what the counters know of a hold that was just ``judged``, one item of ``units``."""
    covered = units - judged.charged[0]
    return CountedHold(
        HoldFigures(0, units, covered, units, covered),
        {
            (feature, figure.limit.window): (figure.window, figure.limit.overage)
            for figure in judged.figures[0] or ()
        },
    )


def undone(
    counts: Mapping[Slot, Count],
    items: Sequence[tuple[str, int]],
    judged: Judgement,
    *,
    held: bool,
) -> dict[Slot, Count]:
    """Return ``counts`` without what an attempt on ``items``, as it was ``judged``, had counted."""
    after = dict(counts)
    for (feature, units), charged, row in zip(items, judged.charged, judged.figures, strict=True):
        for figure in row or ():
            share = units - charged if figure.limit.overage else units
            slot = (feature, figure.limit.window)
            _take(after, slot, figure.window, share, share if held else 0)
    return after


def told(
    counts: Mapping[Slot, Count], hold: CountedHold, figures: HoldFigures
) -> tuple[dict[Slot, Count], CountedHold]:
    """Return ``counts`` and the hold as they are once the counters know ``figures``.

    Figures are absolute, and those of an older version say nothing: told twice, late or out of
    order it comes to the same.
    """
    after = dict(counts)
    before = hold.figures
    if figures.version <= before.version:
        return after, hold
    for slot, (window, included) in hold.slots.items():
        used = before.covered - figures.covered if included else before.units - figures.units
        held = (
            before.held_covered - figures.held_covered if included else before.held - figures.held
        )
        _take(after, slot, window, used, held)
    return after, replace(hold, figures=figures)


def _take(counts: dict[Slot, Count], slot: Slot, window: Window, used: int, held: int) -> None:
    known = counts.get(slot)
    if known is not None and not turned(window, known.window):
        counts[slot] = replace(
            known, used=max(0, known.used - used), held=max(0, known.held - held)
        )
