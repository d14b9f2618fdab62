"""Which of a customer's live subscriptions is one too many, and whether that is clear.

Pure: told the same subscriptions, everybody judges alike, whether they come from the record or from
the provider. Who pays for two different things is never decided about here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from api.catalog.subscriptions import SubscriptionRecord
from api.domain.catalog import Catalog
from api.domain.entitlements import SubscriptionStatus

LIVE = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
    SubscriptionStatus.PAUSED,
)
"""Statuses in which a subscription goes on, best first. One that is incomplete is not among them:
it begins when it is paid, or is over within a day."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A subscription that is one too many beside the one ``kept``.

    ``clear``: it may be ended unasked; otherwise a person decides.
    """

    record: SubscriptionRecord
    kept: SubscriptionRecord
    clear: bool


def extras(
    catalog: Catalog,
    held: Iterable[SubscriptionRecord],
    customer_type: str,
    at: datetime,
    *,
    left_alone: Collection[str] = (),
) -> list[Extra]:
    """Return those of one customer's subscriptions that are one too many.

    Of each group one stays: by status (as ``LIVE``), then what does not end before what does, paid
    before unpaid, the plan of the highest rank, the one anchored first, the provider's id.
    Of a type that may have several subscriptions one stays for each plan. Add-ons of their own
    never count, nor does what ends with its period, or what a person said to leave alone.
    """
    several = catalog.type_of(customer_type).several_subscriptions
    groups: dict[str, list[SubscriptionRecord]] = {}
    for record in held:
        if _counts(record) and record.provider_id not in left_alone:
            groups.setdefault(record.plan or "" if several else "", []).append(record)
    found: list[Extra] = []
    for group in groups.values():
        kept, *others = _in_order(catalog, group, at)
        found += [Extra(one, kept, _clear(one, kept, at)) for one in others]
    return found


def _counts(record: SubscriptionRecord) -> bool:
    """Tell whether a subscription to a plan goes on, and past its period."""
    return record.plan is not None and record.status in LIVE and not _ends_with_its_period(record)


def _ends_with_its_period(record: SubscriptionRecord) -> bool:
    ends, period = record.ends_at, record.current_period_end
    return record.cancel_at_period_end or (ends is not None and (period is None or ends <= period))


def _paying(record: SubscriptionRecord, at: datetime) -> bool:
    """Whether it is active, and paid for now; a trial's invoice of nothing pays for nothing."""
    return record.status is SubscriptionStatus.ACTIVE and _paid(record, at)


def _paid(record: SubscriptionRecord, at: datetime) -> bool:
    trial = record.status is SubscriptionStatus.TRIALING
    return not trial and record.paid_until is not None and record.paid_until > at


def _clear(one: SubscriptionRecord, kept: SubscriptionRecord, at: datetime) -> bool:
    """Whether nobody can mean to have both, and what is ended is not what is paid for.

    The same thing twice is one too many. Of different things, only what is not active may go, and
    only beside what is active and paid for: of two active ones the customer may want either.
    """
    if _paying(one, at) and not _paying(kept, at):
        return False
    if (one.plan, one.price, one.add_ons) == (kept.plan, kept.price, kept.add_ons):
        return kept.status in (SubscriptionStatus.ACTIVE, one.status)
    return one.status is not SubscriptionStatus.ACTIVE and _paying(kept, at)


def _in_order(
    catalog: Catalog, group: Sequence[SubscriptionRecord], at: datetime
) -> list[SubscriptionRecord]:
    def place(record: SubscriptionRecord) -> tuple[int, bool, bool, int, float, str]:
        plan = catalog.plans.get(record.plan or "")
        rank = -1 if plan is None else plan.rank
        anchored = record.billing_anchor.timestamp() if record.billing_anchor else inf
        ends = record.ends_at is not None
        status = LIVE.index(record.status)
        return status, ends, not _paid(record, at), -rank, anchored, record.provider_id

    return sorted(group, key=place)
