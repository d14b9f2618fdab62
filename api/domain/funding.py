"""Quota and credits together: how much would pass, and why a call was refused for want of credits.

Units that a plan includes are used first; credits pay for the rest. Both are judged as one
decision, and the answer says what each layer paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from api.domain import codes
from api.domain.catalog import MAX_UNITS, Catalog, CreditCost, Feature
from api.domain.credits import cost_of, most_units, packs_that_help
from api.domain.decision import Decision, WindowFigure, most
from api.domain.errors import InvalidInput
from api.domain.unlocking import Asked, Holding, Known, plans_that_allow


class Funding(NamedTuple):
    """Who paid for the units of one call.

    ``included`` units by the plan, ``charged`` units by ``credits``, which came from ``buckets``
    of (name, credits) in the order in which they burned.
    """

    included: int
    charged: int
    credits: int
    buckets: tuple[tuple[str, int], ...] = ()


def price(cost: CreditCost, units: int) -> int:
    """Return what ``units`` cost together.

    Raises: InvalidInput, where no whole number of credits up to 2^53 - 1 is so much.
    """
    credits_ = cost_of(cost, units)
    if credits_ > MAX_UNITS:
        raise InvalidInput(f"{units} units would cost more than 2^53 - 1 credits")
    return credits_


def most_with_credits(
    windows: Sequence[WindowFigure], cost: CreditCost, balance: int
) -> int | None:
    """Return the most units that would pass now; None is unlimited."""
    included = [w for w in windows if w.overage]
    room = min((w.remaining for w in included if w.remaining is not None), default=None)
    capped = most(windows)
    if included and room is None:
        return capped
    affordable = min(MAX_UNITS, (room or 0) + most_units(cost, balance))
    return affordable if capped is None else min(affordable, capped)


class Short(NamedTuple):
    """A call that credits do not cover: what it would cost, and what could pay for it."""

    cost: int
    charged: int
    balance: int


def deny_credits(
    catalog: Catalog,
    holding: Holding,
    customer: str,
    feature: Feature,
    units: int,
    windows: tuple[WindowFigure, ...],
    short: Short,
    *,
    at_s: int,
) -> Decision:
    """Explain why ``units`` were refused for want of credits; ``windows`` as before the call.

    Cost: O(plans x limits + packs), no I/O.
    """
    known = {w.window: Known(w.used + w.held, w.starts_at_s) for w in windows}
    asked = Asked(feature.key, units, known, at_s, credits_lack=True)
    helping = plans_that_allow(catalog, holding, asked)
    packs = packs_that_help(
        catalog.packs.values(), holding.customer_type, feature.key, short.cost - short.balance
    )
    text = f"{feature.name}: {short.charged} of {units} units cost {short.cost} credits"
    text += f", and {short.balance} are available"
    offers = [f"the pack {packs[0]}"] if packs else []
    offers += [f"the plan {helping[0]}"] if helping else []
    return Decision(
        allowed=False,
        status=codes.PAYING_HELPS,
        customer=customer,
        feature=feature.key,
        units=units,
        windows=windows,
        code=codes.INSUFFICIENT_CREDITS,
        message=f"{text}; {' or '.join(offers)} would help." if offers else f"{text}.",
        max_units_now=most_with_credits(windows, catalog.costs[feature.key], short.balance),
        unlocked_by=helping,
        unlocked_by_packs=tuple(packs),
        cost=short.cost,
        balance=short.balance,
    )
