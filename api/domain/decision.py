"""From the judge's figures to an answer that says what would help.

402 where paying helps, 429 where waiting helps, 403 where neither does. Of several reasons the
first of this order is reported: feature, payment, allocation, credits, caps; of several full
windows the one that resets last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from api.domain import codes
from api.domain.catalog import Catalog, Feature, FeatureKind, WindowKind
from api.domain.unlocking import Asked, Holding, Known, paying_would_allow, plans_that_allow


@lru_cache(maxsize=4096)
def instant(seconds: int | None) -> datetime | None:
    """Return whole seconds since 1970 as an instant; None, where there is no such.

    Windows of many customers end at the same few instants, so those of late are kept.
    """
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class WindowFigure(NamedTuple):
    """One window as the customer sees it. Instants are whole seconds since 1970.

    ``limit`` None is unlimited; ``resets_at_s`` None never resets. ``granted`` False is an
    allocation whose plan no longer gives it: what is held is counted, and nothing may be added.
    ``overage``: the plan includes so many, and units past them are paid with credits.
    """

    window: WindowKind
    limit: int | None
    used: int
    starts_at_s: int | None
    resets_at_s: int | None
    held: int = 0
    code: str | None = None
    status: int | None = None
    shadow: bool = False
    granted: bool = True
    overage: bool = False

    @property
    def starts_at(self) -> datetime | None:
        """When it began; None: it has no beginning."""
        return instant(self.starts_at_s)

    @property
    def resets_at(self) -> datetime | None:
        """When it ends; None: it never resets."""
        return instant(self.resets_at_s)

    @property
    def binds(self) -> bool:
        """Whether it can refuse a call."""
        return self.limit is not None and not self.shadow and not self.overage

    @property
    def remaining(self) -> int | None:
        """``max(0, limit - used - held)``; None is unlimited."""
        return None if self.limit is None else max(0, self.limit - self.used - self.held)


class Decision(NamedTuple):
    """The answer to one question, with everything that a denial must say.

    ``cost`` is what the units would cost in credits, ``balance`` what could pay for them; None
    where they cost none.
    """

    allowed: bool
    status: int
    customer: str
    feature: str
    units: int
    windows: tuple[WindowFigure, ...]
    code: str | None = None
    message: str | None = None
    window: WindowFigure | None = None
    retry_after_seconds: int | None = None
    max_units_now: int | None = None
    unlocked_by: tuple[str, ...] = ()
    unlocked_by_packs: tuple[str, ...] = ()
    degraded: bool = False
    cost: int | None = None
    balance: int | None = None

    @property
    def docs(self) -> str | None:
        """Where the page of this denial's code lies."""
        return None if self.code is None else codes.docs_of(self.code)


class Alike:
    """Shared by denials that say the same but for whom, and how long to wait.

    Whoever puts them into words keeps here what it came to.
    """

    __slots__ = ("facts", "problem")

    def __init__(self) -> None:
        self.facts: dict[str, Any] | None = None
        self.problem: object = None


class LikeOthers(Decision):
    """A denial as many get it. It equals the same one without ``alike``."""

    alike: Alike | None = None
    """None of one that was changed since."""

    @classmethod
    def of(cls, facts: Iterable[Any], alike: Alike | None) -> LikeOthers:
        """Return the decision of these ``facts``, in their order."""
        made: LikeOthers = tuple.__new__(cls, facts)
        made.alike = alike
        return made


def allow(
    customer: str,
    feature: str,
    units: int,
    windows: tuple[WindowFigure, ...],
    *,
    degraded: bool = False,
) -> Decision:
    """Return the answer yes, with what is left."""
    return Decision(
        allowed=True,
        status=codes.OK,
        customer=customer,
        feature=feature,
        units=units,
        windows=windows,
        max_units_now=most(windows),
        degraded=degraded,
    )


def most(windows: Sequence[WindowFigure]) -> int | None:
    """Return the most units that would pass now: the least over all limits that bind."""
    return min((w.remaining for w in windows if w.remaining is not None and w.binds), default=None)


def deny(
    catalog: Catalog,
    holding: Holding,
    customer: str,
    feature: Feature,
    units: int,
    windows: tuple[WindowFigure, ...] | None,
    *,
    at_s: int,
) -> Decision:
    """Explain why ``units`` of ``feature`` were refused; ``windows`` None: not granted at all.

    Cost: O(plans x limits), no I/O.
    """
    known = {w.window: Known(w.used + w.held, w.starts_at_s) for w in windows or ()}
    asked = Asked(feature.key, units, known, at_s)
    helping = plans_that_allow(catalog, holding, asked)
    paying = paying_would_allow(catalog, holding, asked)
    if windows is None or not all(w.granted for w in windows):
        return _deny_feature(
            holding, customer, feature, units, windows or (), helping, paying=paying
        )
    full = [w for w in windows if w.binds and _over(w, units)]
    worst = max(full, key=lambda w: (w.resets_at_s is None, w.resets_at_s or 0, w.window.code))
    code, status = _reason(feature, worst, helping, paying=paying)
    waits = any(w.resets_at_s is None or units > (w.limit or 0) for w in full)
    return Decision(
        allowed=False,
        status=status,
        customer=customer,
        feature=feature.key,
        units=units,
        windows=windows,
        code=code,
        message=_message(feature, worst, code, units, helping),
        window=worst,
        retry_after_seconds=(
            None if waits else max(1, max((w.resets_at_s or 0) for w in full) - at_s)
        ),
        max_units_now=most(windows),
        unlocked_by=helping,
    )


def _deny_feature(
    holding: Holding,
    customer: str,
    feature: Feature,
    units: int,
    windows: tuple[WindowFigure, ...],
    helping: tuple[str, ...],
    *,
    paying: bool,
) -> Decision:
    if paying:
        code, status = codes.PAYMENT_REQUIRED, codes.PAYING_HELPS
        message = f"Access to {feature.name} was withdrawn until a payment succeeds."
    elif helping:
        code, status = codes.FEATURE_NOT_IN_PLAN, codes.PAYING_HELPS
        message = f"{feature.name} is not in the plan {holding.plan}; {_offer(helping)}."
    else:
        code, status = codes.FEATURE_UNAVAILABLE, codes.NOTHING_HELPS
        message = f"{feature.name} is not available to this customer in any public plan."
    return Decision(
        allowed=False,
        status=status,
        customer=customer,
        feature=feature.key,
        units=units,
        windows=windows,
        code=code,
        message=message,
        max_units_now=0,
        unlocked_by=helping,
    )


def _reason(
    feature: Feature, worst: WindowFigure, helping: tuple[str, ...], *, paying: bool
) -> tuple[str, int]:
    if paying:
        return codes.PAYMENT_REQUIRED, codes.PAYING_HELPS
    if feature.kind is FeatureKind.ALLOCATION:
        code, status = codes.ALLOCATION_EXCEEDED, codes.PAYING_HELPS
    else:
        code = codes.CAP_CODES[worst.window]
        status = codes.default_status(worst.window, helped=bool(helping))
    return worst.code or code, worst.status or status


def _over(figure: WindowFigure, units: int) -> bool:
    return figure.limit is not None and figure.used + figure.held + units > figure.limit


def _message(
    feature: Feature, worst: WindowFigure, code: str, units: int, helping: tuple[str, ...]
) -> str:
    if code == codes.PAYMENT_REQUIRED:
        return f"Paid access to {feature.name} was withdrawn until a payment succeeds."
    text = f"{feature.name}: {worst.used} of {worst.limit} used{_span(worst)}"
    text += f"; {units} more would exceed it"
    return f"{text}; {_offer(helping)}." if helping else f"{text}."


def _span(figure: WindowFigure) -> str:
    if figure.resets_at_s is None:
        return ""
    if figure.window is WindowKind.DAY:
        return " today"
    return f" this {figure.window.value.replace('_', ' ')}"


def _offer(helping: tuple[str, ...]) -> str:
    return f"the plan {helping[0]} would allow it"
