"""Named SQL statements, kept in ``sql/queries/<store>.sql`` where a person can read them.

A statement begins with ``-- name: find_by_key :one``; the comment lines under it say why it is
written so and which index serves it, and are obligatory. The reply kind is ``:one``, ``:many`` or
``:exec``. Each text is sent with its own name as a comment, so that ``pg_stat_activity`` and
``pg_stat_statements`` speak of statements as the source does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Self

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*) :(one|many|exec)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: what it is called, what it answers with, why it is so, and its text."""

    name: str
    kind: str
    why: str
    sql: str


class Queries:
    """The statements of one store; ``Queries.load("customers").find_by_key`` is its SQL text."""

    def __init__(self, store: str, statements: Mapping[str, Statement]) -> None:
        self.store = store
        self.statements = MappingProxyType(dict(statements))

    @classmethod
    def load(cls, store: str) -> Self:
        """Read and check one file of statements.

        Raises: ValueError, naming file and statement, where a statement breaks the rules above.
        """
        path = sql_root() / "queries" / f"{store}.sql"
        return cls(store, _parse(path.read_text(encoding="utf-8"), store))

    def __getattr__(self, name: str) -> str:
        statement = self.statements.get(name)
        if statement is None:
            raise AttributeError(f"sql/queries/{self.store}.sql has no statement {name!r}")
        return statement.sql


@cache
def sql_root() -> Path:
    """Find the SQL files: in the built package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    packed = package / "_sql"
    return packed if packed.is_dir() else package.parent / "sql"


def _parse(text: str, store: str) -> dict[str, Statement]:
    head, *parts = _NAME.split(text)
    if any(line.strip() and not line.startswith("--") for line in head.splitlines()):
        raise ValueError(f"{store}.sql: SQL stands before the first '-- name: x :one|:many|:exec'")
    statements: dict[str, Statement] = {}
    for name, kind, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        lines = body.strip().splitlines()
        comments = [line for line in lines if line.lstrip().startswith("--")]
        if any("-- name:" in line for line in comments):
            raise ValueError(f"{store}.sql: a name after {name!r} is not '-- name: x :kind'")
        why = "\n".join(line.strip().removeprefix("--").strip() for line in comments)
        sql = "\n".join(line for line in lines if line not in comments).strip().removesuffix(";")
        if name in statements or not why or not sql:
            raise ValueError(f"{store}.sql: {name!r} is empty, unexplained, or named twice")
        statements[name] = Statement(name, kind, why, f"/* {store}.{name} */ {sql}")
    return statements
