"""What a catalog file says, field by field; what it may not say is in ``bad/``."""

from pathlib import Path

import pytest
from hypothesis import given

from api.catalog.file import load, parse
from api.catalog.problems import CatalogError, Problem
from api.domain.catalog import (
    MAX_UNITS,
    Anchor,
    Audience,
    Catalog,
    Durability,
    Limit,
    OutageMode,
    OutagePolicy,
    PastDuePolicy,
    PlanFeature,
    Price,
    WindowKind,
)
from tests.support.catalog_text import toml_of
from tests.support.catalogs import catalogs

SMALLEST = """
product = "paper"

[customer_types.person]
default_plan = "free"

[features.posts]
kind = "metered"

[features.seats]
kind = "allocation"

[features.support]
kind = "value"

[plans.free]
"""


def of(added: str) -> Catalog:
    return parse(SMALLEST + added, "paper.toml")


def offer(said: str) -> PlanFeature:
    """Return what a plan gives of the one feature that ``said`` names."""
    (only,) = of(f"\n[plans.plus.features]\n{said}\n").plans["plus"].features.values()
    return only


@given(catalogs())
def test_a_file_says_all_that_a_catalog_can_hold(catalog: Catalog) -> None:
    assert parse(toml_of(catalog), "written.toml") == catalog


def test_what_is_left_out_takes_its_default() -> None:
    catalog = of("")

    posts = catalog.features["posts"]
    assert (posts.name, posts.unit, posts.durability) == ("Posts", None, Durability.FAST)
    assert (posts.outage, posts.replay_seconds) == (OutagePolicy(OutageMode.CLOSED), 600)
    free = catalog.plans["free"]
    assert (free.name, free.public, free.rank, free.prices) == ("Free", True, 0, ())
    assert free.serves("person")
    assert catalog.default_customer_type == "person"
    assert catalog.past_due is PastDuePolicy.KEEP
    assert (catalog.grace_days, catalog.past_due_notice) == (None, Audience.CUSTOMER)
    assert catalog.trial_reminder_days == 3


def test_units_may_be_a_number_a_table_or_unlimited() -> None:
    assert offer("posts.month = 500").limits == (Limit(WindowKind.MONTH, 500),)
    assert offer("posts.month = { units = 500 }").limits == (Limit(WindowKind.MONTH, 500),)
    assert offer('posts.month = "unlimited"').limits == (Limit(WindowKind.MONTH, None),)
    assert offer(f"posts.month = {MAX_UNITS}").limits == (Limit(WindowKind.MONTH, MAX_UNITS),)
    assert offer("posts.month = 0").limits == (Limit(WindowKind.MONTH, 0),)


def test_several_windows_stand_in_order_of_their_length() -> None:
    given_ = offer("posts = { month = 50, minute = 2, billing_period = 60, day = 5 }")

    assert given_.limits == (
        Limit(WindowKind.MINUTE, 2),
        Limit(WindowKind.DAY, 5),
        Limit(WindowKind.MONTH, 50),
        Limit(WindowKind.BILLING_PERIOD, 60, anchor=Anchor.BILLING),
    )


def test_a_limit_may_name_its_anchor_code_and_status_and_be_a_shadow() -> None:
    given_ = offer(
        "posts.month = "
        '{ units = 5, anchor = "billing", code = "ENOUGH", status = 403, shadow = true }'
    )

    assert given_.limits == (
        Limit(WindowKind.MONTH, 5, Anchor.BILLING, code="ENOUGH", status=403, shadow=True),
    )


def test_unlimited_without_a_window_limits_nothing() -> None:
    assert offer('posts = "unlimited"') == PlanFeature("posts")


def test_false_takes_a_feature_away_unless_it_is_the_value_itself() -> None:
    assert offer("posts = false") == PlanFeature("posts", enabled=False)
    assert offer("seats = false") == PlanFeature("seats", enabled=False)
    assert offer("support = false") == PlanFeature("support", value=False)


def test_a_value_keeps_its_type() -> None:
    assert offer('support = "email"').value == "email"
    assert type(offer("support = 2").value) is int
    assert type(offer("support = 2.0").value) is float


def test_an_allocation_is_one_limit_for_life_and_journaled() -> None:
    catalog = of("\n[plans.plus.features]\nseats = 3\n")

    assert catalog.plans["plus"].features["seats"].limits == (Limit(WindowKind.LIFETIME, 3),)
    assert catalog.features["seats"].durability is Durability.JOURNALED


def test_a_limit_for_life_makes_its_feature_journaled_even_if_only_an_add_on_has_it() -> None:
    catalog = of("\n[add_ons.more.features]\nposts.lifetime = 3\n")

    assert catalog.features["posts"].durability is Durability.JOURNALED


def test_ranks_follow_the_file_or_are_all_named() -> None:
    followed = of("\n[plans.plus]\n[plans.pro]\n").plans
    named = parse(
        SMALLEST.replace("[plans.free]", "[plans.free]\nrank = 5") + "\n[plans.plus]\nrank = 2\n",
        "paper.toml",
    ).plans

    assert {key: plan.rank for key, plan in followed.items()} == {"free": 0, "plus": 1, "pro": 2}
    assert {key: plan.rank for key, plan in named.items()} == {"free": 5, "plus": 2}


def test_a_price_paid_once_has_no_interval() -> None:
    catalog = of(
        '\n[plans.plus]\nprices.plus = { amount_minor = 5, currency = "jpy", interval = "once" }\n'
    )

    assert catalog.plans["plus"].prices == (Price("plus", 5, "jpy"),)
    assert catalog.plan_of_price("plus") == catalog.plans["plus"]


def test_lookup_keys_may_hold_dots_and_dashes() -> None:
    price = '{ amount_minor = 5, currency = "usd", interval = "year" }'

    catalog = of(f'\n[plans.plus.prices]\n"plus-2026.v1:a" = {price}\n')

    assert catalog.plans["plus"].prices[0].key == "plus-2026.v1:a"


def test_past_due_may_be_one_word_or_a_table() -> None:
    word = parse('past_due = "withdraw"\n' + SMALLEST, "paper.toml")
    table = of('\n[past_due]\ngrace_days = 7\nnotice = "administrators"\n')

    assert word.past_due is PastDuePolicy.WITHDRAW
    assert table.past_due is PastDuePolicy.KEEP
    assert (table.grace_days, table.past_due_notice) == (7, Audience.ADMINISTRATORS)


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    written = tmp_path / "paper.toml"
    written.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())

    assert load(written) == of("")


def test_lines_are_counted_through_windows_line_ends() -> None:
    with pytest.raises(CatalogError) as refused:
        parse((SMALLEST + "colour = 1\n").replace("\n", "\r\n"), "paper.toml")

    assert [problem.line for problem in refused.value.problems] == [17]


def test_bytes_that_are_no_text_are_placed_too(tmp_path: Path) -> None:
    written = tmp_path / "paper.toml"
    written.write_bytes(b'product = "paper"\nname = "\xff"\n')

    with pytest.raises(CatalogError) as refused:
        load(written)

    assert refused.value.problems == (Problem(str(written), 2, "not UTF-8"),)


def test_a_text_past_any_sense_is_not_even_read() -> None:
    with pytest.raises(CatalogError, match="longer than 1000000 letters"):
        parse("#" * 1_000_001, "paper.toml")


def test_every_problem_is_told_at_once_in_order_of_lines() -> None:
    text = (
        SMALLEST
        + """
names = "Free"

[plans.plus]
prices.plus = { amount_minor = -1, currency = "USD", interval = "week" }

[plans.plus.features]
post.month = 3
seats = { day = 3 }
"""
    )

    with pytest.raises(CatalogError) as refused:
        parse(text, "paper.toml")

    assert [(problem.line, problem.message[:22]) for problem in refused.value.problems] == [
        (18, 'unknown key "names"; d'),
        (21, "amount_minor must be a"),
        (21, "currency must be a low"),
        (21, 'interval must be "mont'),
        (24, 'unknown feature "post"'),
        (25, "an allocation never re"),
    ]
    assert refused.value.message.splitlines()[0].startswith("paper.toml:18: unknown key")
    assert refused.value.code == "INVALID_INPUT"
