"""Every worked timeline of ``docs/limits-and-windows.md`` says what the rules say."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from api.catalog.file import parse
from api.domain.catalog import Catalog, WindowKind
from tests.support.timelines import Timeline, recomputed, timelines

PAGE = (Path(__file__).parents[2] / "docs" / "limits-and-windows.md").read_text(encoding="utf-8")
TIMELINES = timelines(PAGE)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    return parse(example[1], "limits-and-windows.toml")


@pytest.mark.parametrize("timeline", TIMELINES, ids=lambda timeline: f"line-{timeline.line}")
def test_every_row_of_a_worked_timeline_is_what_the_rules_give(
    timeline: Timeline, catalog: Catalog
) -> None:
    assert list(timeline.rows) == recomputed(timeline, catalog)


def test_every_table_with_instants_is_announced_and_so_recomputed() -> None:
    heads = re.findall(r"^\|.*\(UTC\).*\|$", PAGE, re.MULTILINE)
    assert len(heads) == len(TIMELINES)


def test_every_kind_of_window_has_a_worked_timeline(catalog: Catalog) -> None:
    shown = {WindowKind(t.given["window"]) for t in TIMELINES if t.kind == "windows"}
    for timeline in TIMELINES:
        if timeline.kind == "life":
            offers = [p.features.get(timeline.given["feature"]) for p in catalog.plans.values()]
            shown |= {limit.window for offer in offers if offer for limit in offer.limits}
    assert shown == set(WindowKind)


def test_a_wrong_figure_in_a_table_is_found(catalog: Catalog) -> None:
    for timeline in TIMELINES:
        *first, last = timeline.rows
        for column in last.keys() - {"when (UTC)", "a call at (UTC)", "what happens", "note"}:
            spoiled = replace(timeline, rows=(*first, {**last, column: f"{last[column]}0"}))
            assert list(spoiled.rows) != recomputed(spoiled, catalog), column
