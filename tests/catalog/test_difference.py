"""What a new catalog changes, as an operator reads it before saying yes."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given

from api.catalog.difference import Change, difference
from api.catalog.document import from_document, to_document
from api.catalog.file import parse
from api.domain.catalog import Catalog
from tests.support.catalogs import catalogs

EXAMPLE = Path(__file__).parents[2] / "examples" / "bookkeeper.toml"
OLD = EXAMPLE.read_text(encoding="utf-8")


def changes(old: str, new: str, text: str = OLD) -> tuple[Change, ...]:
    """Return what replacing ``old`` by ``new`` in a catalog's text changes."""
    assert old in text
    return difference(parse(text, "old.toml"), parse(text.replace(old, new, 1), "new.toml"))


def test_a_raised_limit_reads_as_a_sentence_and_warns_of_nothing() -> None:
    (change,) = changes("units = 300,", "units = 500,")

    assert str(change) == "plan starter: tx_post month 300 → 500"
    assert change == Change(("plan", "starter", "tx_post", "month"), 300, 500)


def test_a_change_is_read_by_scripts_as_json() -> None:
    (change,) = changes("units = 300,", "units = 200,")

    assert orjson.loads(orjson.dumps(change.to_json())) == {
        "path": ["plan", "starter", "tx_post", "month"],
        "before": 300,
        "after": 200,
        "warning": "customers who have used more are refused at once",
        "text": "plan starter: tx_post month 300 → 200",
    }


GONE = OLD[OLD.index("[plans.pro]") : OLD.index("[plans.firm]")]
ADD_ON = OLD[OLD.index("# A firm pays") :]


@pytest.mark.parametrize(
    ("old", "new", "line", "warning"),
    [
        (
            'tx_analyze.day = "unlimited"',
            "tx_analyze.day = 9_000",
            "plan firm: tx_analyze day unlimited → 9000",
            "customers who have used more are refused at once",
        ),
        (
            "tx_analyze.day = 500\n",
            "tx_analyze = { day = 500, hour = 90 }\n",
            "plan starter: tx_analyze hour added: 90",
            "recorded usage counts against it: it may be full at once",
        ),
        (
            "companies = 10\n\n",
            "companies = 9\n\n",
            "plan firm: companies 10 → 9",
            "customers who hold more keep it, and get no more",
        ),
        (
            "tx_analyze.day = 500\n",
            "",
            "plan starter: tx_analyze day removed: 500",
            "customers of this plan lose tx_analyze",
        ),
        (
            "bulk_approve = true",
            "bulk_approve = false",
            "plan pro: bulk_approve true → false",
            "customers of this plan lose bulk_approve",
        ),
        (
            "amount_minor = 4900,",
            "amount_minor = 5900,",
            "plan starter: price starter 49.00 USD a month → 59.00 USD a month",
            "subscriptions sold before keep the price they were sold at",
        ),
        (
            ADD_ON,
            "",
            "add-on firm_addon removed: Additional company",
            "customers who hold it lose what it adds",
        ),
        (
            'past_due = "withdraw"',
            'past_due = "keep"',
            "past due withdraw → keep",
            None,
        ),
        (
            'unit = "transaction"',
            'unit = "transaction"\noutage = "open"',
            "feature tx_post: outage closed → open",
            "while counters cannot be reached, every call passes",
        ),
        (
            'unit = "transaction"',
            'unit = "transaction"\ndurability = "journaled"',
            "feature tx_post: durability fast → journaled",
            None,
        ),
        (
            'product = "bookkeeper"',
            'product = "publishing"',
            "product bookkeeper → publishing",
            "this looks like another product's catalog",
        ),
        (
            'code = "FREE_CAP_EXCEEDED", ',
            "",
            "plan free: tx_analyze day code removed: FREE_CAP_EXCEEDED",
            None,
        ),
        (
            'name = "Pro"',
            'name = "Pro"\npublic = false',
            "plan pro: is public true → false",
            None,
        ),
        (
            'default_plan = "free"',
            'default_plan = "free"\n\n[customer_types.person]\ndefault_plan = "free"\n',
            "customer type person: default plan added: free",
            None,
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and " " in value else None,
)
def test_each_change_is_told_with_what_customers_would_feel(
    old: str, new: str, line: str, warning: str | None
) -> None:
    # Without its trials, so that a price fits on a line here.
    base = 'default_customer_type = "business"\n' + OLD.replace(", trial_days = 14", "")

    told = {str(change): change.warning for change in changes(old, new, base)}

    assert line in told
    assert told[line] == warning


def test_a_plan_that_is_gone_is_one_change_with_a_warning() -> None:
    gone, order = (
        next(c for c in changes(GONE, "") if c.path[0] == kind)
        for kind in ("plan", "order of plans")
    )

    assert (str(gone), gone.warning) == (
        "plan pro removed: Pro",
        "customers who hold it fall to their default plan",
    )
    assert str(order) == ("order of plans free < starter < pro < firm → free < starter < firm")
    assert len(changes(GONE, "")) == 2


def test_a_price_that_is_gone_leaves_its_subscriptions_without_a_plan() -> None:
    price = OLD[OLD.index("[plans.pro.prices]") : OLD.index("[plans.pro.features]")]

    (change,) = changes(price, "")

    assert str(change) == ("plan pro: price pro removed: 99.00 USD a month, 14 days of trial")
    assert change.warning == "subscriptions to this price no longer lead to a plan"


def test_a_feature_that_is_gone_is_told_for_itself_and_for_each_plan() -> None:
    feature = OLD[OLD.index("[features.bulk_approve]") : OLD.index("[features.included")]
    new = OLD.replace(feature, "").replace("bulk_approve = true\n", "")
    new = new.replace("bulk_approve = false\n", "")

    told = difference(parse(OLD, "old.toml"), parse(new, "new.toml"))

    assert {str(c): c.warning for c in told} == {
        "feature bulk_approve removed: boolean": "calls that name it are answered UNKNOWN_FEATURE",
        "plan starter: bulk_approve removed: false": None,
        "plan pro: bulk_approve removed: true": "customers of this plan lose bulk_approve",
        "plan firm: bulk_approve removed: true": "customers of this plan lose bulk_approve",
    }


def test_a_first_catalog_is_all_new_and_warns_of_nothing() -> None:
    told = difference(None, parse(OLD, "old.toml"))

    assert all(c.before is None and c.warning is None for c in told)
    assert "plan starter: tx_post month added: 300" in map(str, told)


def test_a_feature_named_like_a_setting_is_not_mistaken_for_one() -> None:
    added = '[features.public]\nkind = "boolean"\n\n[plans.free]\n'
    with_feature = OLD.replace("[plans.free]\n", added, 1)

    (change,) = changes(
        "companies = 1\n\n[plans.starter]",
        "companies = 1\npublic = true\n\n[plans.starter]",
        with_feature,
    )

    assert str(change) == "plan free: public added: true"


def test_numbering_the_same_order_differently_changes_nothing() -> None:
    plans = ("free", "starter", "pro", "firm")
    ranked = OLD
    for rank, plan in enumerate(plans):
        ranked = ranked.replace(f"[plans.{plan}]\n", f"[plans.{plan}]\nrank = {rank * 10}\n", 1)

    assert difference(parse(OLD, "old.toml"), parse(ranked, "new.toml")) == ()


@given(catalogs())
def test_a_catalog_does_not_differ_from_itself(catalog: Catalog) -> None:
    assert difference(catalog, from_document(to_document(catalog))) == ()


@given(catalogs(), catalogs())
def test_a_difference_there_is_a_difference_back(old: Catalog, new: Catalog) -> None:
    there = {c.path: (c.before, c.after) for c in difference(old, new)}
    back = {c.path: (c.after, c.before) for c in difference(new, old)}

    shared = there.keys() & back.keys()
    assert {path: there[path] for path in shared} == {path: back[path] for path in shared}
    # What only one of them tells went or came with a whole part.
    for path in there.keys() ^ back.keys():
        assert path[:2] in shared
