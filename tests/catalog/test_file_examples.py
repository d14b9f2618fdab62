"""The figures of CAT-1 to CAT-5, as the example files say them."""

from pathlib import Path

import pytest

from api.catalog.difference import difference
from api.catalog.document import from_document, to_document
from api.catalog.file import load
from api.domain.catalog import (
    Audience,
    Bucket,
    Catalog,
    CreditCost,
    Durability,
    FeatureKind,
    Limit,
    PastDuePolicy,
    Plan,
    PlanCredits,
    Rounding,
    WindowKind,
)
from api.domain.credits import cost_of

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


@pytest.fixture(scope="module")
def leads() -> Catalog:
    return load(EXAMPLES / "leads.toml")


@pytest.fixture(scope="module")
def agents() -> Catalog:
    return load(EXAMPLES / "agents.toml")


@pytest.fixture(scope="module")
def learning() -> Catalog:
    return load(EXAMPLES / "learning.toml")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_can_be_stored_and_read_back(path: Path) -> None:
    catalog = load(path)

    restored = from_document(to_document(catalog))

    assert restored == catalog
    assert difference(catalog, restored) == ()
    assert catalog.product == path.stem


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


def test_fifty_credits_are_bought_once_and_a_claim_costs_five(leads: Catalog) -> None:
    pack = leads.packs["lead_50"]
    (price,) = pack.prices

    assert (pack.credits, pack.bucket, pack.expires_days) == (50, Bucket.PERMANENT, None)
    assert (price.amount_minor, price.currency, price.interval) == (2500, "usd", None)
    assert leads.costs == {"lead_claim": CreditCost("lead_claim", 5)}
    assert pack.pays_for("lead_claim")


def test_no_plan_includes_a_claim_and_each_caps_them_by_the_day(leads: Catalog) -> None:
    for plan in leads.plans.values():
        limit = only_limit(plan, "lead_claim")
        assert (limit.window, limit.overage) == (WindowKind.DAY, False)


def test_the_subscription_to_leads_brings_credits_and_fewer_on_trial(leads: Catalog) -> None:
    assert leads.plans["free"].credits is None
    assert leads.plans["pro"].credits == PlanCredits(200, trial_units=25, rollover=100)
    assert all(price.trial_days for price in leads.plans["pro"].prices)


def test_only_packs_for_sale_are_public_and_a_gift_burns_first(leads: Catalog) -> None:
    gift = leads.packs["welcome"]

    assert [key for key, pack in leads.packs.items() if pack.public] == ["lead_50"]
    assert gift.bucket is Bucket.PROMOTIONAL
    monthly = leads.plans["pro"].credits
    assert monthly is not None
    assert gift.priority < monthly.priority < leads.packs["lead_50"].priority


def test_credits_of_the_month_burn_before_those_that_stay(agents: Catalog) -> None:
    monthly = [plan.credits for plan in agents.plans.values() if plan.credits is not None]

    assert len(monthly) == 2
    for pack in agents.packs.values():
        assert (pack.bucket, pack.expires_days) == (Bucket.PERMANENT, None)
        assert all(given.priority < pack.priority for given in monthly)
    assert all(0 < given.trial_units < given.units for given in monthly)


@pytest.mark.parametrize(
    ("feature", "units", "credits"),
    [
        ("chat_tokens", 1, 1),
        ("chat_tokens", 1_000, 3),
        ("chat_tokens", 1_001, 4),
        ("image", 2, 16),
        ("voice_seconds", 10, 1),
        ("voice_seconds", 75, 3),
        ("research_run", 1, 40),
    ],
)
def test_every_action_of_an_agent_has_its_cost(
    agents: Catalog,
    feature: str,
    units: int,
    credits: int,  # noqa: A002 - the field's own word
) -> None:
    assert cost_of(agents.costs[feature], units) == credits
    assert agents.costs["voice_seconds"].rounding is Rounding.NEAREST


def test_every_service_is_limited_by_itself_and_only_chat_is_included(agents: Catalog) -> None:
    for plan in agents.plans.values():
        costing = {key: plan.features[key] for key in plan.features if key in agents.costs}
        assert all(offer.limits for offer in costing.values())
        included = {key for key, offer in costing.items() if any(x.overage for x in offer.limits)}
        assert included == {"chat_tokens"}
    more = agents.add_ons["more_chat"].features["chat_tokens"]
    assert more.limits == (Limit(WindowKind.MONTH, 500_000),)


def test_a_workspace_is_downgraded_on_day_fourteen(agents: Catalog) -> None:
    assert (agents.past_due, agents.grace_days) == (PastDuePolicy.KEEP, 14)


def test_each_type_of_learning_has_a_plan_without_a_price_and_one_that_can_be_tried(
    learning: Catalog,
) -> None:
    assert list(learning.customer_types) == ["parent", "school", "district"]
    assert learning.default_customer_type == "parent"
    for type_ in learning.customer_types:
        assert learning.default_plan(type_).prices == ()
    tried = {
        key: {price.trial_days for price in plan.prices}
        for key, plan in learning.plans.items()
        if any(price.trial_days for price in plan.prices)
    }
    assert tried == {"family": {14}, "school": {30}, "district": {60}}


def test_learning_goes_on_for_seven_days_past_due_with_a_notice_to_the_customer(
    learning: Catalog,
) -> None:
    assert (learning.past_due, learning.grace_days) == (PastDuePolicy.KEEP, 7)
    assert learning.past_due_notice is Audience.CUSTOMER
