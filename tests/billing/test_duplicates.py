"""Which of several subscriptions stays, and when one is not clear enough to be ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from api.billing.duplicates import extras
from api.catalog.file import parse
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.entitlements import SubscriptionStatus
from tests.support.billing import CATALOG, SEVERAL

AT = datetime(2026, 3, 10, 10, tzinfo=UTC)
ENDS = AT + timedelta(days=20)
PAID = SubscriptionRecord(
    customer_id=1,
    provider="stripe",
    provider_id="paid",
    status=SubscriptionStatus.ACTIVE,
    plan="starter",
    price="starter_monthly",
    current_period_start=ENDS - timedelta(days=31),
    current_period_end=ENDS,
    billing_anchor=AT,
    paid_until=ENDS,
    id=1,
)
OLDER = replace(PAID, provider_id="older", billing_anchor=AT - timedelta(days=40))
PRO = replace(PAID, provider_id="pro", plan="pro", price="pro_monthly")
YEARLY = replace(PAID, provider_id="yearly", price="starter_yearly")
SEATED = replace(PAID, provider_id="seated", add_ons=(("more_seats", 2),))
UNPAID = replace(PAID, provider_id="unpaid", status=SubscriptionStatus.UNPAID, paid_until=AT)
LAPSED = replace(OLDER, provider_id="lapsed", paid_until=AT)
TRIAL = replace(PRO, provider_id="trial", status=SubscriptionStatus.TRIALING)
PAUSED = replace(PRO, provider_id="paused", status=SubscriptionStatus.PAUSED, paid_until=AT)
LATE = replace(PRO, provider_id="late", status=SubscriptionStatus.PAST_DUE, paid_until=AT)
ENDING = replace(PRO, provider_id="ending", cancel_at_period_end=True, ends_at=ENDS)
TERMED = replace(OLDER, provider_id="termed", ends_at=ENDS + timedelta(days=300))
NOTHING_PAID = replace(PAID, provider_id="nothing", paid_until=None)
IGNORED = (
    ENDING,
    replace(ENDING, provider_id="cut", cancel_at_period_end=False),
    replace(PRO, provider_id="begun", status=SubscriptionStatus.INCOMPLETE),
    replace(PRO, provider_id="ended", status=SubscriptionStatus.CANCELED),
    replace(PRO, provider_id="seats", plan=None),
)


def judged(*held: SubscriptionRecord, said: str = CATALOG) -> list[tuple[str, str, bool]]:
    """Return which is one too many, beside which, and whether that is clear; in any order told."""
    catalog = parse(said, "test.toml")
    every = [extras(catalog, order, "business", AT) for order in permutations(held)]
    found = [
        [(one.record.provider_id, one.kept.provider_id, one.clear) for one in e] for e in every
    ]
    assert all(one == found[0] for one in found)
    return found[0]


def test_of_the_same_thing_twice_the_older_one_stays() -> None:
    assert judged(OLDER, PAID) == [("paid", "older", True)]


@pytest.mark.parametrize("worse", [UNPAID, PAUSED, LATE, TRIAL], ids=lambda one: one.provider_id)
def test_what_is_active_and_paid_is_never_ended_for_what_is_not(worse: SubscriptionRecord) -> None:
    """A higher plan, and one that was there before, make no difference."""
    first = replace(worse, billing_anchor=AT - timedelta(days=40))
    assert judged(first, PAID) == [(worse.provider_id, "paid", True)]


@pytest.mark.parametrize("other", [PRO, YEARLY, SEATED], ids=lambda one: one.provider_id)
def test_of_two_different_things_that_are_paid_a_person_decides(other: SubscriptionRecord) -> None:
    [(_, _, clear)] = judged(OLDER, other)
    assert not clear


def test_what_is_paid_stays_before_what_lapsed_and_what_goes_on_before_what_ends() -> None:
    assert judged(LAPSED, PAID) == [("lapsed", "paid", True)]
    assert judged(TERMED, PAID) == [("termed", "paid", True)]


def test_what_is_paid_for_is_not_ended_beside_what_is_not_though_that_stays_longer() -> None:
    assert judged(TERMED, NOTHING_PAID) == [("termed", "nothing", False)]


def test_of_two_that_are_not_paid_only_the_same_in_the_same_state_is_clear() -> None:
    twice = replace(TRIAL, provider_id="trial2")
    assert judged(TRIAL, twice) == [("trial2", "trial", True)]
    assert judged(TRIAL, LATE) == [("late", "trial", False)]
    assert judged(NOTHING_PAID, LATE) == [("late", "nothing", False)]


@pytest.mark.parametrize("one", IGNORED, ids=lambda one: one.provider_id)
def test_what_ends_by_itself_has_not_begun_or_is_no_plan_is_left(one: SubscriptionRecord) -> None:
    assert judged(one, PAID) == []


def test_where_plans_are_held_together_only_the_same_one_twice_is_too_many() -> None:
    assert judged(OLDER, PAID, PRO, said=SEVERAL) == [("paid", "older", True)]


def test_what_a_person_left_alone_is_neither_ended_nor_makes_another_one_too_many() -> None:
    catalog = parse(CATALOG, "test.toml")
    third = replace(PAID, provider_id="third", billing_anchor=AT + timedelta(days=1))
    for left, expected in (("paid", ["third"]), ("older", ["third"]), ("third", ["paid"])):
        found = extras(catalog, [OLDER, PAID, third], "business", AT, left_alone={left})
        assert [one.record.provider_id for one in found] == expected
