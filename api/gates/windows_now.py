"""The windows of a customer's features as they stand."""

from __future__ import annotations

from collections.abc import Sequence

from api.domain.admission import Action
from api.domain.decision import WindowFigure
from api.gates.expectations import MOST_ITEMS
from api.gates.features import Features
from api.gates.judge import Judge
from api.metering.counters import NOT_GRANTED, Operation, figures


async def windows_now(
    features: Features, judge: Judge, customer: str, asked: Sequence[str], at: int
) -> dict[str, tuple[WindowFigure, ...] | None]:
    """Return the windows of each feature; None where it is not granted.

    Raises: UnknownCustomer, UnknownFeature, Unavailable. Cost: one round trip per 100.
    """
    found: dict[str, tuple[WindowFigure, ...] | None] = {}
    for start in range(0, len(asked), MOST_ITEMS):
        batch = asked[start : start + MOST_ITEMS]
        for feature in batch:
            await features.get(feature)
        items = [(features.id_of(feature), 0) for feature in batch]
        operation = Operation(Action.CHECK, customer, "", items)
        reply = await judge.ask(operation, at, journaled=False)
        for feature, row in zip(batch, reply.rows, strict=True):
            found[feature] = None if row == NOT_GRANTED else _standing(figures(row))
    return found


def _standing(windows: tuple[WindowFigure, ...]) -> tuple[WindowFigure, ...] | None:
    """Return windows that say something; None of an allocation that is neither given nor held."""
    return windows if any(w.granted or w.used for w in windows) or not windows else None
