"""What a catalog file says about credits, field by field; what it may not say is in ``bad/``."""

import pytest

from api.catalog.file import parse
from api.catalog.problems import CatalogError
from api.domain.catalog import (
    MAX_UNITS,
    Anchor,
    Bucket,
    Catalog,
    CreditCost,
    Durability,
    Limit,
    Pack,
    PlanCredits,
    PlanFeature,
    Price,
    Rounding,
    WindowKind,
)

SMALLEST = """
product = "paper"

[customer_types.person]
default_plan = "free"

[features.tokens]
kind = "metered"

[features.leads]
kind = "metered"

[costs.tokens]
credits = 3
per = 1000

[plans.free]

[plans.plus]
prices.plus = { amount_minor = 900, currency = "usd", interval = "month" }
"""


def of(added: str) -> Catalog:
    return parse(SMALLEST + added, "paper.toml")


def tokens(said: str) -> PlanFeature:
    return of(f"\n[plans.plus.features]\ntokens{said}\n").plans["plus"].features["tokens"]


def test_a_cost_is_by_the_unit_rounded_up_unless_the_file_says_otherwise() -> None:
    assert of("[costs.leads]\ncredits = 5\n").costs["leads"] == CreditCost("leads", 5)
    assert CreditCost("leads", 5) == CreditCost("leads", 5, 1, Rounding.UP, 0)


def test_a_cost_says_its_rate_its_rounding_and_its_minimum() -> None:
    said = 'credits = 2\nper = 60\nrounding = "nearest"\nminimum = 1\n'

    assert of(f"[costs.leads]\n{said}").costs["leads"] == CreditCost(
        "leads", 2, 60, Rounding.NEAREST, 1
    )


def test_costs_keep_the_order_of_the_file() -> None:
    assert list(of("[costs.leads]\ncredits = 5\n").costs) == ["tokens", "leads"]


def test_what_a_plan_includes_is_a_limit_with_overage() -> None:
    assert tokens('.month = { units = 5, overage = "credits", anchor = "billing" }').limits == (
        Limit(WindowKind.MONTH, 5, Anchor.BILLING, overage=True),
    )
    assert tokens(".month = 5").limits == (Limit(WindowKind.MONTH, 5),)


def test_all_of_a_feature_may_be_included() -> None:
    assert tokens('.month = { units = "unlimited", overage = "credits" }').limits == (
        Limit(WindowKind.MONTH, None, overage=True),
    )


def test_caps_may_stand_beside_what_is_included() -> None:
    given = tokens(' = { minute = 9, day = { units = 5, overage = "credits" } }')

    assert [limit.overage for limit in given.limits] == [False, True]


def test_what_is_included_for_life_is_journaled() -> None:
    catalog = of('[plans.plus.features]\ntokens.lifetime = { units = 5, overage = "credits" }\n')

    assert catalog.features["tokens"].durability is Durability.JOURNALED


def test_an_add_on_may_raise_what_is_included_plainly_or_in_the_same_words() -> None:
    plan = '[plans.plus.features]\ntokens.month = { units = 5, overage = "credits" }\n'
    for said in ("5", '{ units = 5, overage = "credits" }'):
        add_on = f'[add_ons.more]\nplans = ["plus"]\nfeatures.tokens.month = {said}\n'
        assert of(plan + add_on).add_ons["more"].features["tokens"].limits[0].units == 5


def test_the_credits_of_a_plan_have_defaults_for_all_but_their_number() -> None:
    said = of("[plans.plus.credits]\nunits = 9\n").plans["plus"].credits

    assert said == PlanCredits(9, trial_units=0, rollover=0, priority=50)
    assert of("").plans["plus"].credits is None


def test_the_credits_of_a_plan_are_read_as_written() -> None:
    written = "units = 9\ntrial_units = 9\nrollover = 20\npriority = 0\n"

    assert of(f"[plans.plus.credits]\n{written}").plans["plus"].credits == PlanCredits(9, 9, 20, 0)


def test_a_pack_is_public_permanent_and_for_everything_unless_the_file_says_otherwise() -> None:
    assert of("[packs.lead_50]\ncredits = 50\n").packs == {
        "lead_50": Pack("lead_50", "Lead 50", 50, bucket=Bucket.PERMANENT, priority=100)
    }


def test_a_pack_is_read_as_written() -> None:
    pack = of(
        """
[packs.gift]
name = "A gift"
credits = 9007199254740991
public = false
bucket = "promotional"
priority = 0
expires_days = 1
features = ["tokens"]
customer_types = ["person"]
prices.gift = { amount_minor = 0, currency = "eur", interval = "once" }
"""
    ).packs["gift"]

    assert pack == Pack(
        key="gift",
        name="A gift",
        credits=MAX_UNITS,
        public=False,
        bucket=Bucket.PROMOTIONAL,
        priority=0,
        expires_days=1,
        prices=(Price("gift", 0, "eur"),),
        features=frozenset({"tokens"}),
        customer_types=frozenset({"person"}),
    )


def test_a_cost_that_is_wrong_is_not_blamed_on_those_who_rely_on_it() -> None:
    with pytest.raises(CatalogError) as refused:
        of(
            """
[costs.leads]
credits = "five"

[packs.fifty]
credits = 50
features = ["leads"]

[plans.plus.features]
leads.month = { units = 5, overage = "credits" }
"""
        )

    (problem,) = refused.value.problems
    assert (problem.line, problem.message[:7]) == (23, "credits")
