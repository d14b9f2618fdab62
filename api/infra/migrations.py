"""Plain SQL migrations, forward and back: ``NNNN_name.sql`` beside its ``NNNN_name.undo.sql``.

Each file runs in one transaction and opens with a lock timeout, so that it gives up rather than
stand in front of live traffic. One advisory lock lets a single runner work at a time. What was
applied must be the beginning of what lies in the folder, unedited: else every step is refused.
"""

import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from api.domain.errors import InvalidInput
from api.infra.postgres import Connection, connect
from api.infra.queries import sql_root

_LOCK = 0x4845_4144  # any number, as long as every Headroom takes the same
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_OPENING = re.compile(r"(\s*--[^\n]*\n)*\s*set (local )?lock_timeout\b")
_TABLE = """create table if not exists schema_migrations (
  version integer primary key, name text not null, checksum text not null,
  applied_at timestamptz not null default now())"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; ``applied_at`` is None while it is still to come."""

    version: int
    name: str
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Step:
    version: int
    name: str
    sql: str
    undo: str
    checksum: str


class Migrator:
    """Moves one database's schema forward and back; ``dsn`` must not lead through a pooler."""

    def __init__(self, dsn: str, folder: Path | None = None) -> None:
        self._dsn = dsn
        self._steps = _read(folder or sql_root() / "migrations")

    async def status(self) -> list[Migration]:
        """List every step in order, with the instant it was applied."""
        async with self._applied() as (_, applied):
            return [Migration(s.version, s.name, applied.get(s.version)) for s in self._steps]

    async def up(self, target: int | None = None) -> list[str]:
        """Apply what is missing, up to and including ``target``; return the names applied.

        Raises: InvalidInput, where an applied file was edited or the target is not one.
        """
        self._require(target)
        async with self._applied() as (conn, applied):
            missing = [s for s in self._steps if s.version not in applied]
            wanted = [s for s in missing if target is None or s.version <= target]
            for step in wanted:
                await _run(conn, step, step.sql, forward=True)
            return [step.name for step in wanted]

    async def down(self, *, steps: int = 1, to: int | None = None) -> list[str]:
        """Undo the last ``steps``, or all after ``to`` (0 undoes everything); return their names.

        Raises: InvalidInput, as ``up`` does.
        """
        self._require(to or None)
        async with self._applied() as (conn, applied):
            done = [s for s in reversed(self._steps) if s.version in applied]
            wanted = done[:steps] if to is None else [s for s in done if s.version > to]
            for step in wanted:
                await _run(conn, step, step.undo, forward=False)
            return [step.name for step in wanted]

    def _require(self, version: int | None) -> None:
        if version is not None and version not in {step.version for step in self._steps}:
            raise InvalidInput(f"There is no migration {version:04d}.")

    @asynccontextmanager
    async def _applied(self) -> AsyncGenerator[tuple[Connection, dict[int, datetime]]]:
        async with connect(self._dsn) as conn:
            await conn.execute("select pg_advisory_lock($1)", _LOCK)  # ends with the connection
            await conn.execute(_TABLE)
            rows = await conn.fetch("select * from schema_migrations order by version")
            for index, row in enumerate(rows):
                step = self._steps[index] if index < len(self._steps) else None
                if step is None or (step.version, step.checksum) != (row[0], row["checksum"]):
                    raise InvalidInput(
                        f"Migration {row['name']} was applied, and its file is now missing, "
                        "edited, or not next in order. Put it back as it was; change the schema "
                        "by a new migration."
                    )
            yield conn, {row["version"]: row["applied_at"] for row in rows}


def known_versions() -> tuple[int, ...]:
    """Return the versions of every migration that this code was written for."""
    return tuple(step.version for step in _read(sql_root() / "migrations"))


async def _run(conn: Connection, step: _Step, sql: str, *, forward: bool) -> None:
    async with conn.transaction():
        await conn.execute(sql)
        if forward:
            insert = "insert into schema_migrations (version, name, checksum) values ($1, $2, $3)"
            await conn.execute(insert, step.version, step.name, step.checksum)
        else:
            await conn.execute("delete from schema_migrations where version = $1", step.version)


def _read(folder: Path) -> list[_Step]:
    steps: list[_Step] = []
    for path in sorted(folder.glob("*.sql")):
        if path.name.endswith(".undo.sql"):
            continue
        undo = path.with_suffix(".undo.sql")
        match = _FILE.fullmatch(path.name)
        if match is None or not undo.exists():
            raise ValueError(f"{path.name}: not NNNN_name.sql, or without {undo.name}")
        sql, back = path.read_text(encoding="utf-8"), undo.read_text(encoding="utf-8")
        if not (_OPENING.match(sql) and _OPENING.match(back)):
            raise ValueError(f"{path.name} or {undo.name} does not open with 'set lock_timeout'")
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        steps.append(_Step(int(match[1]), path.stem, sql, back, checksum))
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"{folder}: migrations are not numbered 0001, 0002, … without a gap")
    return steps
