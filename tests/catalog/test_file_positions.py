"""Where the keys of a TOML text stand, whatever it looks like."""

import re
import tomllib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from api.catalog.positions import KeyPath, key_lines

ODD = (Path(__file__).parent / "odd.toml").read_text(encoding="utf-8")


def test_every_shape_of_key_has_its_line() -> None:
    tomllib.loads(ODD)

    lines = key_lines(ODD)

    assert {path: line for path, line in lines.items() if path[0] != "table"} == {
        ("title",): 2,
        ("quoted.key",): 4,
        ("quoted.key", "second"): 4,
        ("many",): 18,
        ("many", 0): 18,
        ("many", 0, "name"): 19,
        ("many", 0, "inner"): 20,
        ("many", 0, "inner", "x"): 21,
        ("many", 1): 22,
        ("many", 1, "more"): 23,
        ("many", 1, "more", 0): 23,
        ("many", 1, "more", 0, "y"): 24,
        ("many", 1, "more", 0, "y", "a"): 24,
        ("many", 1, "more", 0, "y", "a", "b"): 24,
        ("many", 1, "more", 0, "y", "c d"): 24,
        ("many", 1, "more", 0, "y", "c d", "e"): 24,
        ("many", 1, "more", 0, "y", "c d", "e", 0): 24,
        ("many", 1, "more", 0, "y", "c d", "e", 0, "f"): 24,
    }
    inner = ("table", "inAner")
    assert lines["table",] == 25
    assert lines["table", "late"] == 26
    assert lines[inner] == 5
    assert lines[*inner, "literal"] == 10
    assert lines[*inner, "list", 1, 1] == 14
    assert lines[*inner, "list", 2, "deep", 0] == 14
    assert lines[*inner, "list", 3] == 15
    assert lines[*inner, "date"] == 17


scalars = st.sampled_from(
    ["1", "true", "-0.5e3", '"]}"', "'#'", '"""\n[x]\nk = "\n"""', "''''''", "'''\n\"'''", '"\\""']
)
blanks = st.sampled_from(["", " ", "\t"])
breaks = st.sampled_from(["", " ", "\n", " # ] } ,\n"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Write TOML in which every key is ``k`` and a number of its own, in its own place."""
    numbers = count()

    def key() -> str:
        return f"{draw(blanks)}k{next(numbers)}{draw(blanks)}"

    def value(depth: int) -> str:
        kind = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
        if kind == "array":
            inner = [draw(breaks) + value(depth - 1) + draw(breaks) for _ in range(draw(few))]
            return f"[{','.join(inner)}{draw(breaks)}]"
        if kind == "table":
            pairs = [f"{pair_key()}={draw(blanks)}{value(depth - 1)}" for _ in range(draw(few))]
            return f"{{{','.join(pairs)}}}"
        return draw(scalars)

    def pair_key() -> str:
        return ".".join(key() for _ in range(draw(st.integers(1, 2))))

    few = st.integers(0, 3)
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        shape = draw(st.sampled_from(["pair", "pair", "header", "array header", "comment"]))
        if shape == "pair":
            lines.append(f"{pair_key()}={draw(blanks)}{value(2)}")
        elif shape == "comment":
            lines.append("# [k] = 1")
        else:
            name = pair_key()
            lines.append(f"[{name}]" if shape == "header" else f"[[{name}]]")
    return "\n".join(lines)


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    parts: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        parts = iter(value.items())
    elif isinstance(value, list):
        parts = iter(enumerate(value))
    for key, inner in parts:
        yield (*path, key)
        yield from paths(inner, (*path, key))


@given(documents())
def test_every_key_of_any_document_is_found_where_it_is_written(text: str) -> None:
    lines = key_lines(text)

    assert set(lines) == set(paths(tomllib.loads(text)))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert re.search(rf"\b{path[-1]}\b", text.split("\n")[line - 1])
