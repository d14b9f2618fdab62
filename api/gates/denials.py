"""Which of a call's items were refused, and which reason is told first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.domain import codes
from api.domain.catalog import Catalog, Feature
from api.domain.decision import Alike, Decision, LikeOthers, WindowFigure, deny
from api.domain.snapshot import VERSION, decode_holding
from api.domain.unlocking import Holding
from api.infra.packing import pack
from api.metering.counters import NOT_GRANTED, Reply, figures

MOST_KEPT = 4_096


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
    if len(asked) == 1:
        (feature, units), row = asked[0], reply.rows[0]
        return (_kept.deny(catalog, reply.holding, customer, feature, units, row, at_s),)
    holding = _holding(reply.holding)
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


class _Kept:
    """Denials of late, as many customers are refused alike: at the same limit of the same plan.

    ``deny`` is a pure function. Of the instant it uses the window that holds it, which turns on a
    whole minute, and the wait until one ends; the customer only stands in the answer. What it is
    told of the customer and its windows is compared packed, and read only where it is new.
    """

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._decisions: dict[object, LikeOthers] = {}

    def deny(
        self,
        catalog: Catalog,
        holding: Sequence[Any],
        customer: str,
        feature: Feature,
        units: int,
        row: Any,  # noqa: ANN401 - flat figures, or that there are none
        at_s: int,
    ) -> Decision:
        """Return what ``deny`` does."""
        if catalog is not self._catalog or len(self._decisions) >= MOST_KEPT:
            self._catalog, self._decisions = catalog, {}
        # All but the version, which is the customer's own.
        told = pack((holding[:VERSION], holding[VERSION + 1 :], row))
        key = (told, feature.key, units, at_s // 60)
        known = self._decisions.get(key)
        if known is None:
            windows = None if row == NOT_GRANTED else figures(row)
            first = deny(catalog, _holding(holding), customer, feature, units, windows, at_s=at_s)
            self._decisions[key] = known = LikeOthers.of(first, Alike())
        wait = known.retry_after_seconds
        if wait is not None and known.window is not None:
            # Of the full windows the one that resets last is reported, and waited for.
            wait = max(1, (known.window.resets_at_s or 0) - at_s)
        if wait == known.retry_after_seconds and customer == known.customer:
            return known
        facts: list[Any] = list(known)
        facts[_CUSTOMER], facts[_WAIT] = customer, wait
        return LikeOthers.of(facts, known.alike)


_kept = _Kept()
_CUSTOMER = Decision._fields.index("customer")
_WAIT = Decision._fields.index("retry_after_seconds")


def _holding(encoded: Sequence[Any]) -> Holding:
    return decode_holding(encoded) if encoded else Holding("", "", ())


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
