import asyncio
from collections.abc import AsyncIterator

import pytest

from api.domain.errors import InvalidInput, Unavailable
from api.infra.postgres import CheckViolation, Database, UniqueViolation, connect, constraint_name
from tests.conftest import EnginesFactory


@pytest.fixture
async def notes(empty_database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(empty_database_url, max_size=3, timeout_seconds=5) as database:
        await database.execute(
            "create table notes (id int constraint notes_id_once unique,"
            " body jsonb, constraint notes_id_positive check (id > 0))"
        )
        yield database


async def test_a_transaction_that_ends_well_is_kept(notes: Database) -> None:
    async with notes.transaction() as conn:
        await conn.execute("insert into notes values (1, $1)", {"a": [1, None, "é"]})
    assert await notes.fetchval("select body from notes") == {"a": [1, None, "é"]}


async def test_a_transaction_that_raises_leaves_nothing(notes: Database) -> None:
    async def insert_and_fail() -> None:
        async with notes.transaction() as conn:
            await conn.execute("insert into notes values (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await insert_and_fail()
    assert await notes.fetchval("select count(*) from notes") == 0


async def test_a_repeatable_read_sees_one_moment(notes: Database) -> None:
    async with notes.transaction(isolation="repeatable_read") as conn:
        assert await conn.fetchval("select count(*) from notes") == 0
        await notes.execute("insert into notes values (1)")
        assert await conn.fetchval("select count(*) from notes") == 0


async def test_a_broken_constraint_says_its_name(notes: Database) -> None:
    with pytest.raises(CheckViolation) as refused:
        await notes.execute("insert into notes values (0)")
    assert constraint_name(refused.value) == "notes_id_positive"
    await notes.execute("insert into notes values (1)")
    with pytest.raises(UniqueViolation) as twice:
        await notes.execute("insert into notes values (1)")
    assert constraint_name(twice.value) == "notes_id_once"


async def test_jsonb_travels_through_copy_as_well(notes: Database) -> None:
    async with notes.transaction() as conn:
        await conn.copy_records_to_table("notes", columns=["id", "body"], records=[(1, {"b": 2})])
    row = await notes.fetchrow("select * from notes")
    assert row is not None
    assert dict(row) == {"id": 1, "body": {"b": 2}}


async def test_behind_a_pooler_no_statement_is_kept(empty_database_url: str) -> None:
    async with await Database.open(
        empty_database_url, max_size=1, direct_dsn=empty_database_url
    ) as database:
        assert await database.fetchval("select $1::int", 7) == 7
        kept = "select count(*) from pg_prepared_statements where name <> ''"
        assert await database.fetchval(kept) == 0


async def test_a_deadlock_is_unavailable_for_one_and_success_for_the_other(
    notes: Database,
) -> None:
    await notes.execute("insert into notes values (1), (2)")
    holding = [asyncio.Event(), asyncio.Event()]

    async def lock(mine: int, other: int) -> bool:
        try:
            async with notes.transaction() as conn:
                await conn.execute("select from notes where id = $1 for update", mine)
                holding[mine - 1].set()
                await holding[other - 1].wait()
                await conn.execute("select from notes where id = $1 for update", other)
        except Unavailable:
            return False
        return True

    assert sorted(await asyncio.gather(lock(1, 2), lock(2, 1))) == [False, True]


async def test_who_waits_too_long_for_a_connection_is_refused(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.infra.postgres.WAIT_SECONDS", 0.05)
    async with (
        await Database.open(empty_database_url, max_size=1) as database,
        asyncio.timeout(20),
    ):
        async with database.transaction():
            for ask in (database.fetch, database.fetchrow, database.fetchval, database.execute):
                with pytest.raises(Unavailable):
                    await ask("select 1")
            with pytest.raises(Unavailable):
                async with database.transaction():
                    pass
        assert await database.fetchval("select 1") == 1


@pytest.mark.parametrize("number", ["57P01", "57P02", "57P03", "57014", "53300", "40001", "25006"])
async def test_what_a_server_may_say_at_any_moment_is_unavailable(
    notes: Database, number: str
) -> None:
    with pytest.raises(Unavailable):
        await notes.execute(f"do $$ begin raise sqlstate '{number}'; end $$")


async def test_a_mistake_in_a_statement_is_not_hidden_as_unavailable(notes: Database) -> None:
    with pytest.raises(Exception, match="syntax error") as mistake:
        await notes.execute("selec 1")
    assert not isinstance(mistake.value, Unavailable)
    with pytest.raises(Exception, match="expects 1 argument") as miscounted:
        await notes.fetchval("select $1::int")
    assert not isinstance(miscounted.value, Unavailable)


async def test_no_server_at_that_place_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Database.open("postgresql://headroom@/headroom?host=/nonexistent")


async def test_a_killed_server_is_unavailable_until_it_is_back(
    engines_factory: EnginesFactory,
) -> None:
    engines = await engines_factory()
    async with await Database.open(engines.database_url, timeout_seconds=5) as database:

        async def work_through_the_kill() -> None:
            async with database.transaction() as conn:
                await engines.kill_postgres()
                await conn.execute("select 1")

        with pytest.raises(Unavailable):
            await work_through_the_kill()
        with pytest.raises(Unavailable):
            await database.fetchval("select 1")
        await engines.restart_postgres()
        assert await database.fetchval("select 1") == 1


async def test_a_closed_pool_is_unavailable(empty_database_url: str) -> None:
    database = await Database.open(empty_database_url)
    await database.close()
    with pytest.raises(Unavailable):
        await database.fetchval("select 1")


async def test_a_listener_is_told_to_read_first_and_then_each_notification(
    notes: Database,
) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    async with notes.listen("catalog", heard.put_nowait):
        await notes.execute("select pg_notify('catalog', 'a'), pg_notify('catalog', 'b')")
        assert [await heard.get() for _ in range(3)] == [None, "a", "b"]


async def test_a_listener_that_lost_its_connection_is_told_to_read_again(notes: Database) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    async with notes.listen("catalog", heard.put_nowait):
        assert await heard.get() is None
        await notes.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query like 'LISTEN%' and datname = current_database()"
        )
        assert await heard.get() is None
        await notes.execute("select pg_notify('catalog', 'a')")
        assert await heard.get() == "a"


async def test_a_direct_connection_keeps_a_session_lock(notes: Database) -> None:
    async with notes.direct() as conn:
        await conn.execute("select pg_advisory_lock(1)")
        assert await notes.fetchval("select pg_try_advisory_lock(1)") is False


async def test_a_single_connection_reads_json_too(empty_database_url: str) -> None:
    async with connect(empty_database_url) as conn:
        assert await conn.fetchval("""select '{"a": 1}'::jsonb""") == {"a": 1}


@pytest.mark.parametrize("text", ["\x00", "a\x00b"])
async def test_text_that_postgresql_cannot_hold_is_the_caller_s_mistake(
    database: Database, text: str
) -> None:
    with pytest.raises(InvalidInput, match=r"U\+0000"):
        await database.fetchval("select $1::text", text)
    with pytest.raises(InvalidInput, match=r"U\+0000"):
        await database.fetchval("select $1::jsonb", {"a": text})
