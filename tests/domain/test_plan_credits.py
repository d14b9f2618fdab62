"""Which months bring a plan's credits, and what of them lives on."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from api.domain.catalog import Catalog, Plan, PlanCredits
from api.domain.entitlements import (
    CustomerFacts,
    SubscriptionFacts,
    SubscriptionStatus,
    entitle,
    giving_of,
)
from api.domain.plan_credits import Given, Slice, due, gifts, next_start
from tests.support import builders
from tests.support.builders import instant


def plan(key: str, **said: Any) -> Plan:
    known = next(p for p in builders.PLANS if p.key == key)
    return replace(known, credits=PlanCredits(**{"units": 100} | said))


def selling(*plans: Plan) -> Catalog:
    return builders.catalog(plans=plans or (plan("starter"),))


def holding(*held: SubscriptionFacts) -> CustomerFacts:
    return builders.facts(subscriptions=held)


def yearly(start: str, **changed: Any) -> SubscriptionFacts:
    begin = instant(start)
    end = begin.replace(year=begin.year + 1)
    said: dict[str, Any] = {
        "price": "starter_yearly",
        "current_period_start": begin,
        "current_period_end": end,
        "billing_anchor": begin,
        "paid_until": end,
    }
    return builders.subscription(**said | changed)


def monthly(**changed: Any) -> SubscriptionFacts:
    return builders.subscription(**{"paid_until": instant("2026-04-01")} | changed)


def slices(
    catalog: Catalog, facts: CustomerFacts, at: str, since: str | None = None
) -> tuple[Slice, ...]:
    then = instant(at)
    giving = giving_of(catalog, facts, then)
    return due(catalog, facts, giving, instant(since) if since else then, then)


def spans(found: tuple[Slice, ...]) -> list[tuple[str, str]]:
    return [(f"{s.starts_at:%Y-%m-%d}", f"{s.ends_at:%Y-%m-%d}") for s in found]


def test_a_paid_month_is_one_slice() -> None:
    (found,) = slices(selling(), holding(monthly()), "2026-03-10")
    assert (found.subscription, found.plan, found.units) == (1, "starter", 100)
    assert spans((found,)) == [("2026-03-01", "2026-04-01")]
    assert found.source == "plan:1:2026-03-01T00:00:00Z"


def test_it_begins_in_its_first_second_and_ends_with_its_last() -> None:
    held = holding(monthly())
    assert slices(selling(), held, "2026-02-28 23:59:59") == ()
    assert len(slices(selling(), held, "2026-03-01")) == 1
    assert slices(selling(), held, "2026-04-01") == ()


@pytest.mark.parametrize("paid", [None, instant("2026-03-01"), instant("2026-02-01")])
def test_what_is_not_paid_brings_nothing(paid: datetime | None) -> None:
    assert slices(selling(), holding(monthly(paid_until=paid)), "2026-03-10") == ()


@pytest.mark.parametrize(
    "status", [s for s in SubscriptionStatus if s not in ("active", "trialing")]
)
def test_no_other_status_than_active_or_trialing_begins_anything(
    status: SubscriptionStatus,
) -> None:
    catalog = selling(plan("starter", trial_units=5))
    assert slices(catalog, holding(monthly(status=status)), "2026-03-10") == ()


def test_a_month_of_31_days_that_begins_on_the_last_of_february_is_one_slice() -> None:
    start, end = instant("2026-02-28"), instant("2026-03-31")
    held = monthly(
        current_period_start=start,
        current_period_end=end,
        billing_anchor=instant("2026-01-31"),
        paid_until=end,
    )
    found = slices(selling(), holding(held), "2026-03-30")
    assert spans(found) == [("2026-02-28", "2026-03-31")]


@pytest.mark.parametrize(
    ("start", "days"),
    [
        ("2026-01-31", [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]),
        ("2028-01-31", [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]),
        ("2026-05-15", [15] * 12),
    ],
)
def test_a_year_brings_twelve_slices_clamped_to_the_ends_of_months(
    start: str, days: list[int]
) -> None:
    catalog, held = selling(), holding(yearly(start))
    begin = instant(start)
    found: list[Slice] = []
    at: datetime | None = begin
    while at is not None:
        found += due(catalog, held, giving_of(catalog, held, at), at, at)
        at = next_start(catalog, held, giving_of(catalog, held, at), at)
    assert [s.starts_at.day for s in found] == days
    assert found[0].starts_at == begin
    assert found[-1].ends_at == begin.replace(year=begin.year + 1)
    assert all(a.ends_at == b.starts_at for a, b in itertools.pairwise(found))


def test_a_year_that_begins_on_a_clamped_day_keeps_to_its_anchor() -> None:
    held = yearly("2025-02-28", billing_anchor=instant("2024-02-29"))
    found = slices(
        selling(plan("starter", rollover=1)), holding(held), "2026-02-27", since="2025-02-28"
    )
    assert [s.starts_at.day for s in found] == [28] + [29] * 11
    assert found[-1].ends_at == instant("2026-02-28")


def test_a_year_that_is_paid_for_in_part_brings_that_part() -> None:
    held = holding(yearly("2026-01-01", paid_until=instant("2026-03-01")))
    assert spans(slices(selling(), held, "2026-02-10")) == [("2026-02-01", "2026-03-01")]
    assert slices(selling(), held, "2026-03-10") == ()


def test_a_trial_brings_its_own_amount_until_it_ends_and_needs_no_payment() -> None:
    held = monthly(
        status=SubscriptionStatus.TRIALING, trial_ends_at=instant("2026-03-15"), paid_until=None
    )
    catalog = selling(plan("starter", trial_units=10))
    (found,) = slices(catalog, holding(held), "2026-03-02")
    assert (found.units, found.trial, found.ends_at) == (10, True, instant("2026-03-15"))
    assert slices(catalog, holding(held), "2026-03-16") == ()
    assert slices(selling(), holding(held), "2026-03-02") == ()


def test_the_plan_without_a_subscription_brings_its_own_from_the_customer_s_creation() -> None:
    catalog = selling(plan("free"))
    facts = builders.facts(created_at=instant("2026-01-31 09:30:15.5"))
    (found,) = slices(catalog, facts, "2026-03-01")
    assert (found.subscription, found.plan) == (0, "free")
    assert found.starts_at == instant("2026-02-28 09:30:15")
    assert found.ends_at == instant("2026-03-31 09:30:15")


def test_whoever_has_a_plan_does_not_have_the_default_one_s_credits() -> None:
    assert slices(selling(plan("free")), holding(monthly()), "2026-03-10") == ()


def test_every_subscription_brings_its_own() -> None:
    held = holding(monthly(), monthly(id=2, plan="pro"))
    found = slices(selling(plan("starter"), plan("pro", units=300)), held, "2026-03-10")
    assert [(s.subscription, s.units) for s in found] == [(1, 100), (2, 300)]


def test_rights_are_valid_until_the_next_slice_begins() -> None:
    catalog, held = selling(), holding(yearly("2026-01-31"))
    assert entitle(catalog, held, instant("2026-02-10")).valid_until == instant("2026-02-28")
    assert entitle(catalog, held, instant("2026-12-31")).valid_until is None
    assert entitle(builders.catalog(), held, instant("2026-02-10")).valid_until is None
    assert entitle(catalog, holding(monthly()), instant("2026-03-10")).valid_until is None
    free = selling(plan("free"))
    assert entitle(free, builders.facts(), instant("2026-03-10")).valid_until == instant(
        "2026-04-05 09:30"
    )


MARCH = Slice(1, "starter", instant("2026-03-01"), instant("2026-04-01"), 100, 50)
APRIL = replace(MARCH, starts_at=MARCH.ends_at, ends_at=instant("2026-05-01"))
MAY = replace(MARCH, starts_at=APRIL.ends_at, ends_at=instant("2026-06-01"))


def given(one: Slice, left: int, *, units: int = 100, source: str | None = None) -> Given:
    return Given(source or one.source, one.plan, units, left, one.ends_at)


def test_a_slice_is_given_once() -> None:
    (gift,) = gifts([MARCH, MARCH], [])
    assert (gift.source, gift.units) == (MARCH.source, 100)
    assert gifts([MARCH], [given(MARCH, 0)]) == []


def test_a_plan_with_more_brings_the_difference_once_and_one_with_less_takes_nothing() -> None:
    pro = replace(MARCH, plan="pro", units=250)
    (gift,) = gifts([pro], [given(MARCH, 3)])
    assert (gift.source, gift.units) == (f"{MARCH.source}:pro", 150)
    known = [given(MARCH, 3), given(pro, 150, units=150, source=gift.source)]
    assert gifts([MARCH, pro, MARCH, pro], known) == []
    assert gifts([MARCH], [given(pro, 250, units=250, source=MARCH.source)]) == []


def test_other_units_in_the_catalog_leave_the_present_slice_as_it_is() -> None:
    raised = replace(MARCH, units=500)
    assert gifts([raised], [given(MARCH, 3)]) == []
    assert [g.units for g in gifts([replace(APRIL, units=500)], [given(MARCH, 3)])] == [500]


@pytest.mark.parametrize(("left", "lives_on"), [(0, 0), (30, 30), (40, 40), (41, 40), (100, 40)])
def test_of_what_was_left_as_much_as_the_plan_says_lives_on(left: int, lives_on: int) -> None:
    made = gifts([replace(APRIL, rollover=40)], [given(MARCH, left)])
    assert [g.units for g in made if g.source == APRIL.rollover_source] == [lives_on] * (
        lives_on > 0
    )


def test_what_lived_on_counts_with_the_rest_and_months_that_were_missed_are_lived_through() -> None:
    capped = [replace(s, rollover=120) for s in (MARCH, APRIL, MAY)]
    made = gifts(capped, [])
    assert [(g.slice.starts_at.month, g.units) for g in made] == [
        (3, 100),
        (4, 100),
        (4, 100),
        (5, 120),
        (5, 100),
    ]
    known = [Given(g.source, "starter", g.units, g.units, g.slice.ends_at) for g in made]
    assert gifts(capped, known) == []


def test_what_a_trial_brought_does_not_live_on() -> None:
    trial = replace(MARCH, units=10, trial=True)
    (gift,) = gifts([replace(APRIL, rollover=40)], [given(trial, 10, units=10)])
    assert gift.source == APRIL.source


def test_slices_that_ended_matter_only_where_something_lives_on() -> None:
    held = holding(yearly("2026-01-01"))
    plain = slices(selling(), held, "2026-04-10", since="2026-01-15")
    rolling = slices(selling(plan("starter", rollover=5)), held, "2026-04-10", since="2026-01-15")
    assert [s.starts_at.month for s in plain] == [4]
    assert [s.starts_at.month for s in rolling] == [1, 2, 3, 4]
    assert rolling[0].ends_at - rolling[0].starts_at == timedelta(days=31)


@given_(st.lists(st.sampled_from(["starter", "pro", "mega"]), min_size=1, max_size=8))
def test_whatever_plans_a_month_goes_through_it_brings_what_the_best_of_them_does(
    course: list[str],
) -> None:
    units = {"starter": 100, "pro": 250, "mega": 400}
    known: list[Given] = []
    for step, key in enumerate(course, start=1):
        made = gifts([replace(MARCH, plan=key, units=units[key])], known)
        known += [given(replace(MARCH, plan=key), 0, units=g.units, source=g.source) for g in made]
        assert sum(g.units for g in known) == max(units[k] for k in course[:step])
    assert len({g.source for g in known}) == len(known)
