import asyncio
from pathlib import Path

import pytest

from api.domain.errors import InvalidInput
from api.infra.migrations import Migrator
from api.infra.postgres import connect

_TIMEOUT = "set local lock_timeout = '5s';\n"

# Everything that a migration can make, as one comparable text for each.
_SCHEMA = """
select 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
    || ' ' || coalesce(column_default, '') || ' ' || is_identity as made
from information_schema.columns where table_schema = 'public' and table_name <> 'schema_migrations'
union all
select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
    and conrelid::regclass::text <> 'schema_migrations'
union all
select indexdef from pg_indexes where schemaname = 'public' and tablename <> 'schema_migrations'
union all
select 'function ' || oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
union all
select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'type ' || typname from pg_type
where typnamespace = 'public'::regnamespace and typname not like '%schema_migrations'
union all
select 'sequence ' || sequencename from pg_sequences where schemaname = 'public'
order by made
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path, "0001_apples", "create table apples (n int);", "drop table apples;")
    _write(tmp_path, "0002_pears", "create table pears (n int);", "drop table pears;")
    return tmp_path


def _write(folder: Path, name: str, sql: str, undo: str = "") -> None:
    (folder / f"{name}.sql").write_text(_TIMEOUT + sql, encoding="utf-8")
    (folder / f"{name}.undo.sql").write_text(_TIMEOUT + undo, encoding="utf-8")


async def _made(dsn: str) -> list[str]:
    async with connect(dsn) as conn:
        return [row["made"] for row in await conn.fetch(_SCHEMA)]


async def _tables(dsn: str) -> set[str]:
    return {line.split()[1].split(".")[0] for line in await _made(dsn) if line[:6] == "column"}


async def test_up_applies_what_is_missing_once_and_in_order(
    empty_database_url: str, folder: Path
) -> None:
    migrator = Migrator(empty_database_url, folder)
    assert [m.applied_at for m in await migrator.status()] == [None, None]
    assert await migrator.up(1) == ["0001_apples"]
    assert await _tables(empty_database_url) == {"apples"}
    assert await migrator.up() == ["0002_pears"]
    assert await migrator.up() == []
    assert [(m.version, m.name, m.applied_at is None) for m in await migrator.status()] == [
        (1, "0001_apples", False),
        (2, "0002_pears", False),
    ]


async def test_down_undoes_the_last_one_or_all_after_one(
    empty_database_url: str, folder: Path
) -> None:
    migrator = Migrator(empty_database_url, folder)
    await migrator.up()
    assert await migrator.down() == ["0002_pears"]
    assert await _tables(empty_database_url) == {"apples"}
    await migrator.up()
    assert await migrator.down(to=0) == ["0002_pears", "0001_apples"]
    assert await _tables(empty_database_url) == set()
    assert await migrator.down() == []


async def test_an_edited_migration_stops_every_step(empty_database_url: str, folder: Path) -> None:
    await Migrator(empty_database_url, folder).up(1)
    _write(folder, "0001_apples", "create table apples (n bigint);", "drop table apples;")
    edited = Migrator(empty_database_url, folder)
    for step in (edited.up, edited.down, edited.status):
        with pytest.raises(InvalidInput, match="0001_apples was applied"):
            await step()
    assert await _tables(empty_database_url) == {"apples"}


async def test_an_applied_migration_that_is_gone_stops_every_step(
    empty_database_url: str, folder: Path
) -> None:
    await Migrator(empty_database_url, folder).up()
    (folder / "0002_pears.sql").unlink()
    (folder / "0002_pears.undo.sql").unlink()
    with pytest.raises(InvalidInput, match="0002_pears was applied"):
        await Migrator(empty_database_url, folder).up()


async def test_a_step_that_fails_leaves_nothing_and_those_before_it_stay(
    empty_database_url: str, folder: Path
) -> None:
    _write(folder, "0003_plums", "create table plums (n int); select 1 / 0;")
    migrator = Migrator(empty_database_url, folder)
    with pytest.raises(Exception, match="division by zero"):
        await migrator.up()
    assert await _tables(empty_database_url) == {"apples", "pears"}
    assert [m.applied_at is None for m in await migrator.status()] == [False, False, True]


async def test_an_undo_that_fails_leaves_its_step_applied(
    empty_database_url: str, folder: Path
) -> None:
    _write(folder, "0003_plums", "create table plums (n int);", "drop table plums; select 1 / 0;")
    migrator = Migrator(empty_database_url, folder)
    await migrator.up()
    with pytest.raises(Exception, match="division by zero"):
        await migrator.down()
    assert "plums" in await _tables(empty_database_url)
    assert await migrator.up() == []


async def test_of_several_runners_at_once_each_step_is_applied_by_one(
    empty_database_url: str, folder: Path
) -> None:
    runs = await asyncio.gather(*(Migrator(empty_database_url, folder).up() for _ in range(4)))
    assert sorted(name for run in runs for name in run) == ["0001_apples", "0002_pears"]


async def test_a_target_that_is_not_there_is_refused(empty_database_url: str, folder: Path) -> None:
    migrator = Migrator(empty_database_url, folder)
    with pytest.raises(InvalidInput, match="no migration 0007"):
        await migrator.up(7)
    with pytest.raises(InvalidInput, match="no migration 0007"):
        await migrator.down(to=7)
    assert await _tables(empty_database_url) == set()


@pytest.mark.parametrize(
    ("name", "sql", "undo", "told"),
    [
        ("0004_gap", _TIMEOUT, _TIMEOUT, "without a gap"),
        ("0002_twice", _TIMEOUT, _TIMEOUT, "without a gap"),
        ("3_short", _TIMEOUT, _TIMEOUT, "not NNNN_name.sql"),
        ("0003_no_undo", _TIMEOUT, None, "without 0003_no_undo.undo.sql"),
        ("0003_hasty", "create table x ();", _TIMEOUT, "does not open with 'set lock_timeout'"),
        ("0003_hasty", _TIMEOUT, "drop table x;", "does not open with 'set lock_timeout'"),
    ],
)
def test_a_folder_that_breaks_the_rules_is_refused_whole(
    folder: Path, name: str, sql: str, undo: str | None, told: str
) -> None:
    (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    if undo is not None:
        (folder / f"{name}.undo.sql").write_text(undo, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        Migrator("postgresql://nowhere", folder)


async def test_each_of_our_migrations_is_undone_without_a_trace(empty_database_url: str) -> None:
    migrator = Migrator(empty_database_url)
    schemas: list[list[str]] = []
    for step in await migrator.status():
        schemas.append(await _made(empty_database_url))
        assert await migrator.up(step.version) == [step.name]
    whole = await _made(empty_database_url)
    while schemas:
        await migrator.down()
        assert await _made(empty_database_url) == schemas.pop()
    await migrator.up()
    assert await _made(empty_database_url) == whole
