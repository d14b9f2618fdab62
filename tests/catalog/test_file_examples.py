"""The figures of CAT-1 and CAT-2, as the example files say them."""

from pathlib import Path

import pytest

from api.catalog.file import load
from api.domain.catalog import (
    Audience,
    Catalog,
    Durability,
    FeatureKind,
    Limit,
    PastDuePolicy,
    Plan,
    WindowKind,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


def only_limit(plan: Plan, feature: str) -> Limit:
    (limit,) = plan.features[feature].limits
    return limit


@pytest.fixture(scope="module")
def bookkeeper() -> Catalog:
    return load(EXAMPLES / "bookkeeper.toml")


@pytest.fixture(scope="module")
def publishing() -> Catalog:
    return load(EXAMPLES / "publishing.toml")


def test_the_plans_are_ranked_as_they_are_sold(bookkeeper: Catalog, publishing: Catalog) -> None:
    ranked = sorted(bookkeeper.plans.values(), key=lambda plan: plan.rank)

    assert [plan.key for plan in ranked] == ["free", "starter", "pro", "firm"]
    assert list(publishing.plans) == ["free", "starter", "pro"]
    for catalog in (bookkeeper, publishing):
        assert catalog.default_plan(catalog.default_customer_type).key == "free"
        assert catalog.plans["free"].prices == ()


def test_free_analyses_are_fifty_a_day_and_end_in_429(bookkeeper: Catalog) -> None:
    assert only_limit(bookkeeper.plans["free"], "tx_analyze") == Limit(
        WindowKind.DAY, 50, code="FREE_CAP_EXCEEDED", status=429
    )
    assert "tx_post" not in bookkeeper.plans["free"].features


def test_starter_posts_three_hundred_a_month_for_49_dollars(bookkeeper: Catalog) -> None:
    starter = bookkeeper.plans["starter"]

    assert only_limit(starter, "tx_post") == Limit(
        WindowKind.MONTH, 300, code="MONTHLY_CAP_EXCEEDED", status=402
    )
    (price,) = starter.prices
    assert (price.amount_minor, price.currency, price.interval) == (4900, "usd", "month")
    assert starter.features["bulk_approve"].enabled is False
    assert starter.features["included_companies"].value == 1
    assert (only_limit(starter, "tx_analyze").units or 0) > 50


def test_a_higher_plan_allows_the_post_that_starter_refuses(bookkeeper: Catalog) -> None:
    for key in ("pro", "firm"):
        assert (only_limit(bookkeeper.plans[key], "tx_post").units or 0) > 300
        assert bookkeeper.plans[key].features["bulk_approve"].enabled


def test_a_firm_pays_by_the_company_beyond_those_included(bookkeeper: Catalog) -> None:
    (add_on,) = bookkeeper.add_ons.values()

    assert add_on.plans == frozenset({"firm"})
    assert bookkeeper.add_on_of_price("firm_addon") is add_on
    (offer,) = add_on.features.values()
    assert (offer.feature, offer.limits) == ("companies", (Limit(WindowKind.LIFETIME, 1),))
    for plan in bookkeeper.plans.values():
        included = plan.features["included_companies"].value
        assert only_limit(plan, "companies").units == included


def test_every_paid_plan_can_be_tried_and_reminds_before_the_trial_ends(
    bookkeeper: Catalog,
) -> None:
    trials = [price.trial_days for plan in bookkeeper.plans.values() for price in plan.prices]

    assert trials == [14, 14, 14]
    assert 0 < bookkeeper.trial_reminder_days < 14


def test_paid_access_ends_with_the_first_failed_payment(bookkeeper: Catalog) -> None:
    assert bookkeeper.past_due is PastDuePolicy.WITHDRAW


@pytest.mark.parametrize(
    ("plan", "sites", "posts", "users", "gibibytes", "api_calls"),
    [("starter", 3, 1_000, 5, 10, 100_000), ("pro", 10, 10_000, 25, 100, 1_000_000)],
)
def test_publishing_sells_what_is_held_and_calls_by_the_month(
    publishing: Catalog,
    plan: str,
    sites: int,
    posts: int,
    users: int,
    gibibytes: int,
    api_calls: int,
) -> None:
    sold = publishing.plans[plan]

    assert {key: only_limit(sold, key).units for key in sold.features} == {
        "sites": sites,
        "posts": posts,
        "users": users,
        "storage_bytes": gibibytes * 2**30,
        "api_calls": api_calls,
    }
    assert {price.interval for price in sold.prices} == {"month", "year"}


def test_only_calls_reset(publishing: Catalog) -> None:
    for plan in publishing.plans.values():
        windows = {key: only_limit(plan, key).window for key in plan.features}
        assert windows.pop("api_calls") is WindowKind.MONTH
        assert set(windows.values()) == {WindowKind.LIFETIME}
    for key, feature in publishing.features.items():
        held = key != "api_calls"
        assert (feature.kind is FeatureKind.ALLOCATION) == held
        assert (feature.durability is Durability.JOURNALED) == held


def test_seven_days_of_grace_then_free_with_a_notice_to_administrators(
    publishing: Catalog,
) -> None:
    assert publishing.past_due is PastDuePolicy.KEEP
    assert publishing.grace_days == 7
    assert publishing.past_due_notice is Audience.ADMINISTRATORS
