"""Whatever is typed, the answer is a catalog or a list of problems with places."""

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from api.catalog.file import parse
from api.catalog.problems import CatalogError, Problem

EXAMPLES = [
    (Path(__file__).parents[2] / "examples" / f"{name}.toml").read_text(encoding="utf-8")
    for name in ("bookkeeper", "agents")
]
VALUES = [
    *('""', "'x'", "-1", "0", "1.5", "nan", "0x7fffffffffffffffff", "true", "[]", "[[1]]", "{}"),
    *("{ units = {} }", "{ a.b = 1 }", "1979-05-27", "07:32:00", '"unlimited"', '"\\u0000"'),
]
LINES = [
    *("[plans]", "[features]", "[[plans.free]]", "[past_due]", "[trials]", "[add_ons.x.features]"),
    *("[costs]", "[costs.image]", "[packs]", "[packs.x.prices.y]", "[plans.free.credits]"),
    *("costs = 1", "packs.x = 1", "costs.image = 1", 'features = ["image"]', "credits = 1"),
    *("plans = 1", '"" = 1', "features.x = 1", "[plans.x.prices.y]", "[customer_types.x]", "x ="),
]


@st.composite
def edited(draw: st.DrawFn) -> str:
    """Return an example with some of its lines left out, moved, or said otherwise."""
    lines = draw(st.sampled_from(EXAMPLES)).splitlines()
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "value", "insert", "move", "key"])):
            case "drop":
                del lines[place]
            case "value":
                key, equals, _ = lines[place].partition("=")
                lines[place] = f"{key}= {draw(st.sampled_from(VALUES))}" if equals else "x = 1"
            case "insert":
                lines.insert(place, draw(st.sampled_from(LINES)))
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(place))
            case _:
                lines[place] = draw(st.sampled_from("axz_.[]{}")) + lines[place]
    return "\n".join(lines)


@given(edited() | st.text())
@example("")
@example("[plans]\nfeatures = 1\n")
@example("[packs.x]\nfeatures = [[1], {}, 1.5]\ncosts = 1\n")
@example("[costs]\nimage = []\n[plans.free]\ncredits = []\n")
@example('product = "x"\nplans = []\nfeatures = []\ncustomer_types = []\nadd_ons = []\n')
def test_nothing_that_is_typed_is_a_bug(text: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        catalog = parse(text, "typed.toml")
    except CatalogError as refused:
        problems = refused.problems
    else:
        assert catalog.default_plan(catalog.default_customer_type).serves(
            catalog.default_customer_type
        )
        return

    assert problems
    last = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= problem.line <= last and problem.message for problem in problems)
