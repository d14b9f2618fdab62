"""What several plans and add-ons give together of one feature.

Of plans the largest limit counts, and add-ons add theirs times quantity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeGuard

from api.domain.catalog import MAX_UNITS, Limit, PlanFeature, Scalar, WindowKind

_KINDS = tuple(WindowKind)


def combine(
    offers: Iterable[PlanFeature], extra: Iterable[tuple[PlanFeature, int]]
) -> PlanFeature | None:
    """Combine what plans offer (the largest counts) with add-ons (added times quantity).

    None when nothing offers the feature. An unlimited window stays unlimited. A window that only
    some plans limit is limited by none of them: the plan without it gives more. But plans that
    each have a limit, in windows of their own, are not together without any: then the limits of
    the first offer count, so offers come best plan first. What any plan includes of a feature that
    costs credits stays included: such a limit never refuses.
    """
    enabled = [o for o in offers if o.enabled]
    adding = [(o, n) for o, n in extra if o.enabled]
    if not enabled and not adding:
        return None
    if len(enabled) == 1 and not adding and _in_order(enabled[0].limits):
        return enabled[0]  # of most customers: one plan, told shortest window first
    base = enabled or [PlanFeature(adding[0][0].feature)]
    return PlanFeature(
        feature=base[0].feature,
        value=_combined_value([o.value for o in enabled], [(o.value, n) for o, n in adding]),
        limits=_limits(base, adding, alone=not enabled),
    )


def _limits(
    base: Sequence[PlanFeature], adding: Iterable[tuple[PlanFeature, int]], *, alone: bool
) -> tuple[Limit, ...]:
    """Return what limits ``base`` together; ``alone``: no plan offers what the add-ons add to."""
    limits: dict[WindowKind, Limit] = {}
    common = set.intersection(*({x.window for x in o.limits} for o in base))
    for offer in base:
        for limit in offer.limits:
            if limit.window in common or limit.overage:
                known = limits.get(limit.window)
                limits[limit.window] = limit if known is None else max(known, limit, key=_size)
    if not _binds(limits.values()) and all(_binds(o.limits) for o in base):
        limits = {limit.window: limit for limit in base[0].limits}
    for offer, quantity in adding:
        for limit in offer.limits:
            known = limits.get(limit.window)
            if known is None:
                if alone or limit.overage:
                    limits[limit.window] = replace(limit, units=_times(limit.units, quantity))
            else:
                added = _plus(known.units, _times(limit.units, quantity))
                limits[limit.window] = replace(known, units=added)
    return tuple(limits[kind] for kind in _KINDS if kind in limits)


def _combined_value(
    offered: Iterable[Scalar | None], extra: Iterable[tuple[Scalar | None, int]]
) -> Scalar | None:
    """Return the largest value offered; add-ons add numbers to a number, else compete with it."""
    value = max((v for v in offered if v is not None), key=_rank_of_value, default=None)
    for added, quantity in extra:
        if added is None:
            continue
        if _is_number(added):
            times = added * quantity
            value = times if value is None else value + times if _is_number(value) else value
        else:
            value = added if value is None else max(value, added, key=_rank_of_value)
    return value


def _in_order(limits: Sequence[Limit]) -> bool:
    """Tell whether there is at most one limit of each window, the shortest first."""
    windows = [limit.window for limit in limits]
    return windows == [kind for kind in _KINDS if kind in windows]


def _size(limit: Limit) -> tuple[int, int]:
    """Order limits by generosity.

    What is included and unlimited, what is included, unlimited, a shadow, which lets pass; then by
    units.
    """
    if limit.units is None:
        return (4 if limit.overage else 2, 0)
    return (3 if limit.overage else int(limit.shadow), limit.units)


def _binds(limits: Iterable[Limit]) -> bool:
    return any(x.units is not None and not x.shadow and not x.overage for x in limits)


def _times(units: int | None, quantity: int) -> int | None:
    return None if units is None else min(units * quantity, MAX_UNITS)


def _plus(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else min(left + right, MAX_UNITS)


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank_of_value(value: Scalar) -> tuple[int, float, str]:
    """Order values so that the larger number wins, and text by its letters."""
    if isinstance(value, str):
        return (0, 0.0, value)
    return (1, float(value), "")
