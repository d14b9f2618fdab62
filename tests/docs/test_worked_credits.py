"""Every computed table of ``docs/credits.md`` says what the rules say."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from api.catalog.file import load
from api.domain.catalog import Bucket, Catalog
from api.domain.credits import Grant, burn_down, cost_of, packs_that_help
from api.domain.plan_credits import Given, Slice, gifts
from tests.support.builders import instant

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "credits.md").read_text(encoding="utf-8")
TABLE = r"<!-- {}.*? -->\n((?:\|.*\n)+)"

Row = Mapping[str, str]


@pytest.fixture(scope="module")
def agents() -> Catalog:
    return load(ROOT / "examples" / "agents.toml")


def table(name: str) -> Sequence[Row]:
    found = re.search(TABLE.format(name), PAGE)
    assert found is not None
    head, _, *body = ([cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines(found))
    rows = [dict(zip(head, cells, strict=True)) for cells in body]
    assert rows
    return rows


def lines(found: re.Match[str]) -> list[str]:
    return found[1].splitlines()


@pytest.mark.parametrize("row", table("costs"), ids=lambda row: "-".join(row.values()))
def test_every_cost_is_what_the_catalog_makes_it(row: Row, agents: Catalog) -> None:
    cost = agents.costs[row["feature"]]

    assert cost_of(cost, int(row["units in one call"])) == int(row["credits"])


def test_included_units_are_used_before_credits(agents: Catalog) -> None:
    included = agents.plans["builder"].features["chat_tokens"].limits[-1]
    assert included.overage
    assert f"feature=chat_tokens units={included.units}" in PAGE
    used = 0
    for row in table("included"):
        units = int(row["a call of"])
        covered = min(units, (included.units or 0) - used)
        used += covered
        charged = units - covered
        assert list(row.values()) == [
            str(units),
            str(covered),
            str(charged),
            str(cost_of(agents.costs["chat_tokens"], charged)),
            str(used),
        ]


def grants() -> tuple[Mapping[str, Grant], dict[int, int]]:
    """Return Ada's grants by their names, and what each holds at first."""
    rows = table("grants")
    made = {
        row["grant"]: Grant(
            id=number,
            bucket=Bucket(row["bucket"]),
            priority=int(row["priority"]),
            effective_at=instant(row["given (UTC)"]),
            created_at=instant(row["given (UTC)"]),
            expires_at=None if row["ends (UTC)"] == "never" else instant(row["ends (UTC)"]),
            features=None if row["pays for"] == "all" else frozenset({row["pays for"]}),
        )
        for number, row in enumerate(rows)
    }
    return made, {number: int(row["credits"]) for number, row in enumerate(rows)}


def test_grants_burn_in_the_order_that_the_table_shows(agents: Catalog) -> None:
    made, balances = grants()
    for row in table("burns"):
        at, feature = instant(row["when (UTC)"]), row["action"]
        cost = cost_of(agents.costs[feature], int(row["units"]))
        burned, uncovered = burn_down(made.values(), balances, credits=cost, feature=feature, at=at)
        for number, taken in burned:
            balances[number] -= taken
        left = {
            name: balances[grant.id] if grant.expires_at is None or grant.expires_at > at else 0
            for name, grant in made.items()
        }
        assert (cost, uncovered) == (int(row["credits"]), 0)
        assert left == {name: int(row[name]) for name in made}


def test_what_lives_on_is_capped_with_what_lived_on_before(agents: Catalog) -> None:
    plan = agents.plans["studio"]
    assert plan.credits is not None
    known: list[Given] = []
    expected = []
    for month, row in enumerate(table("rollover"), start=3):
        slice_ = Slice(
            subscription=1,
            plan=plan.key,
            starts_at=instant(f"2026-{month:02}-01"),
            ends_at=instant(f"2026-{month + 1:02}-01"),
            units=plan.credits.units,
            priority=plan.credits.priority,
            rollover=plan.credits.rollover,
        )
        given = {gift.source: gift.units for gift in gifts([slice_], known)}
        arrived, lived_on = given[slice_.source], given.get(slice_.rollover_source, 0)
        used = int(row["used"])
        left = arrived + lived_on - used
        known = [Given(slice_.source, plan.key, arrived, left, slice_.ends_at)]
        over = max(0, left - plan.credits.rollover)
        expected.append([arrived, lived_on, arrived + lived_on, used, left, over])
    assert [[int(cell) for cell in [*row.values()][1:]] for row in table("rollover")] == expected


def test_the_grants_that_are_shown_are_those_that_the_catalog_would_give(agents: Catalog) -> None:
    rows = {row["grant"]: row for row in table("grants")}
    monthly, pack = agents.plans["builder"].credits, agents.packs["credits_500"]

    assert monthly is not None
    assert [rows["month"]["priority"], rows["month"]["credits"]] == [
        str(monthly.priority),
        str(monthly.units),
    ]
    assert [rows["pack"]["priority"], rows["pack"]["credits"]] == [
        str(pack.priority),
        str(pack.credits),
    ]


def test_the_packs_that_are_shown_to_help_would(agents: Catalog) -> None:
    for feature in ("research_run", "image"):
        helping = packs_that_help(agents.packs.values(), "workspace", feature, 10)
        assert ", ".join(f"`{key}`" for key in helping) in PAGE
