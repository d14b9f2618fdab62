"""One file per mistake. Its first line is the only problem that may be told, and where."""

import re
from pathlib import Path

import pytest

from api.catalog.file import load, parse
from api.catalog.problems import CatalogError, Problem

BAD = sorted((Path(__file__).parent / "bad").glob("*.toml"))
EXPECTED = re.compile(r"# line (?P<line>\d+): (?P<message>.*)")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_mistake_is_told_once_with_its_line_and_reason(path: Path) -> None:
    first_line, _, _ = path.read_text(encoding="utf-8").partition("\n")
    expected = EXPECTED.fullmatch(first_line)
    assert expected is not None

    with pytest.raises(CatalogError) as refused:
        load(path)

    assert refused.value.problems == (
        Problem(str(path), int(expected["line"]), expected["message"]),
    )


def test_there_is_a_file_for_every_way_to_go_wrong() -> None:
    assert len(BAD) >= 140


@pytest.mark.parametrize(
    ("file", "mistake", "mended"),
    [
        ("limit_units_negative", "posts.month = -1", "posts.month = 1"),
        ("pack_credits_zero", "credits = 0", "credits = 1"),
    ],
)
def test_what_the_bad_files_were_before_their_mistake_is_accepted(
    file: str, mistake: str, mended: str
) -> None:
    """Else a file could be refused for another reason than the one it stands for."""
    text = (Path(__file__).parent / "bad" / f"{file}.toml").read_text("utf-8")

    parse(text.replace(mistake, mended), "mended.toml")
