"""Which of a call's items were refused, and which reason is told first."""

from __future__ import annotations

from collections.abc import Sequence

from api.domain import codes
from api.domain.catalog import Catalog, Feature
from api.domain.decision import Decision, WindowFigure, deny
from api.domain.unlocking import Holding
from api.metering.counters import NOT_GRANTED, Reply, figures


def explain(
    catalog: Catalog,
    customer: str,
    asked: Sequence[tuple[Feature, int]],
    reply: Reply,
    *,
    at_s: int,
) -> tuple[Decision, ...]:
    """Explain every feature that was refused, the one to report first.

    A feature that was asked for twice is refused for the sum.
    """
    holding = reply.holding or Holding("", "", ())
    totals: dict[str, int] = {}
    for feature, units in asked:
        totals[feature.key] = totals.get(feature.key, 0) + units
    found: dict[str, Decision] = {}
    for (feature, _), row in zip(asked, reply.rows, strict=True):
        if feature.key in found:
            continue
        units = totals[feature.key]
        windows = None if row == NOT_GRANTED else figures(row)
        if windows is None or any(_over(w, units) for w in windows):
            found[feature.key] = deny(
                catalog, holding, customer, feature, units, windows, at_s=at_s
            )
    return tuple(sorted(found.values(), key=precedence))


def _over(figure: WindowFigure, units: int) -> bool:
    if not figure.granted:
        return True
    if not figure.binds or figure.limit is None:
        return False
    return figure.used + figure.held + units > figure.limit


def precedence(decision: Decision) -> tuple[int, bool, int]:
    """Order denials: feature, payment, allocation, credits, caps.

    Of caps the one that resets last comes first.
    """
    if decision.code == codes.INSUFFICIENT_CREDITS:
        return (3, False, 0)
    if decision.window is None:
        return (1 if decision.code == codes.PAYMENT_REQUIRED else 0, False, 0)
    if decision.code == codes.PAYMENT_REQUIRED:
        return (1, False, 0)
    if decision.code == codes.ALLOCATION_EXCEEDED:
        return (2, False, 0)
    resets = decision.window.resets_at_s
    return (4, resets is not None, -(resets or 0))
