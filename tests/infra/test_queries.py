import re
from pathlib import Path

import pytest

from api.infra import queries
from api.infra.postgres import Database
from api.infra.queries import Queries, sql_root

_STORES = sorted(path.stem for path in (sql_root() / "queries").glob("*.sql"))
_SOURCE = "\n".join(path.read_text("utf-8") for path in sorted(Path("api").rglob("*.py")))


def _load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Queries:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "fruit.sql").write_text(text, encoding="utf-8")
    monkeypatch.setattr(queries, "sql_root", lambda: tmp_path)
    return Queries.load("fruit")


def test_a_statement_is_found_by_its_name_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "-- Fruit.\n\n-- name: ripe :many\n-- By fruit_ripe.\n-- Soon.\nselect *\nfrom fruit;\n"
    fruit = _load(tmp_path, monkeypatch, text)
    assert fruit.ripe == "/* fruit.ripe */ select *\nfrom fruit"
    assert (fruit.statements["ripe"].kind, fruit.statements["ripe"].why) == (
        "many",
        "By fruit_ripe.\nSoon.",
    )
    with pytest.raises(AttributeError, match=r"fruit.sql has no statement 'rotten'"):
        _ = fruit.rotten


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("select 1;\n-- name: a :one\n-- Why.\nselect 1;", "SQL stands before"),
        ("-- name: a :one\nselect 1;", "'a' is empty, unexplained"),
        ("-- name: a :one\n-- Why.\n", "'a' is empty, unexplained"),
        ("-- name: a :one\n-- Why.\n;", "'a' is empty, unexplained"),
        ("-- name: a :one\n-- W.\nselect 1;\n-- name: a :one\n-- W.\nselect 2;", "named twice"),
        ("-- name: a :one\n-- W.\nselect 1;\n-- name: b :some\n-- W.\nselect 2;", "after 'a'"),
        ("-- name: a :one\n-- W.\nselect 1;\n-- name: B :one\n-- W.\nselect 2;", "after 'a'"),
    ],
)
def test_a_file_that_breaks_the_rules_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        _load(tmp_path, monkeypatch, text)


@pytest.mark.parametrize("store", _STORES)
async def test_every_statement_fits_the_migrated_schema(database: Database, store: str) -> None:
    async with database.direct() as conn:
        for statement in Queries.load(store).statements.values():
            prepared = await conn.prepare(statement.sql)
            if statement.kind != "exec":
                assert prepared.get_attributes(), f"{store}.{statement.name} answers nothing"


@pytest.mark.parametrize("store", _STORES)
def test_every_statement_is_used(store: str) -> None:
    assert f'Queries.load("{store}")' in _SOURCE
    unused = [
        name for name in Queries.load(store).statements if not re.search(rf"\.{name}\b", _SOURCE)
    ]
    assert unused == []


@pytest.mark.parametrize("store", _STORES)
def test_statements_are_written_in_lower_case(store: str) -> None:
    for statement in Queries.load(store).statements.values():
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", statement.sql)
        assert bare == bare.lower(), f"{store}.{statement.name}"
