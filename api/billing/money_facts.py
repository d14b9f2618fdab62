"""What subscriptions are paid for on both sides, and what that comes to in a month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from api.billing.provider import ProviderSubscription
from api.billing.translation import lines_of
from api.catalog.subscription_changes import Line, Money, completed, mrr_minor, stated
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.event_order import TERMINAL


def told_money(told: ProviderSubscription, kept: Money | None) -> Money:
    """Return what the provider tells, with what its lists leave out as it is known here."""
    lines = completed(lines_of(told), () if kept is None else kept.lines)
    currency = next((one.currency for one in lines if one.currency), None)
    return Money(lines, currency, mrr_minor(told.status, lines))


def items_unlike(
    told: ProviderSubscription, money: Money, kept: Money | None
) -> tuple[tuple[str, str, str], ...]:
    """Return how what is paid for differs: by prices, quantities, costs, currency or interval.

    What has ended is paid for no more, and where the list was cut nothing can be said.
    """
    if told.status in TERMINAL or not told.whole:
        return ()
    known = () if kept is None else kept.lines
    if kept is not None and stated(known) == stated(money.lines):
        return ()
    return (("items", _plain(known), _plain(money.lines)),)


def add_up(
    counts: Counter[str], side: str, record: SubscriptionRecord, money: Money | None
) -> None:
    """Count a live subscription's plan, and add what it comes to in a month, where it is known."""
    counts[f"{side}:plan:{record.plan}"] += 1
    if money is None or money.mrr_minor is None:
        counts[f"{side}:mrr_unknown"] += 1
    elif money.currency is not None:
        counts[f"{side}:mrr:{money.currency}"] += money.mrr_minor


def _plain(lines: Sequence[Line]) -> str:
    return ", ".join(_words(one) for one in lines)


def _words(line: Line) -> str:
    named = "" if line.price == line.price_id else f" ({line.price_id})"
    cost = "an unknown amount" if line.cost_minor is None else f"{line.cost_minor.normalize():f}"
    every = "once" if line.interval is None else f"every {line.every} {line.interval}"
    return f"{line.price}{named} x {line.quantity}: {cost} {line.currency or ''} {every}"
