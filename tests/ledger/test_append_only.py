"""Rows of the ledger are only added: nobody changes one, its owner no more than a stranger."""

import asyncpg
import pytest

from api.infra.migrations import Migrator
from api.infra.postgres import Database, connect
from tests.support.books import Books
from tests.support.clock import FakeClock

CHANGES = (
    "update credit_entries set amount = 1",
    "delete from credit_entries",
    "truncate credit_entries",
    "truncate customers, credit_entries cascade",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_no_entry_is_changed_or_removed(books: Books, clock: FakeClock, change: str) -> None:
    await books.give(10, clock.now())
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await books.database.execute(change)
    assert await books.database.fetchval("select sum(amount) from credit_entries") == 10


@pytest.mark.parametrize("change", CHANGES[:3])
async def test_an_ordinary_role_that_owns_the_schema_cannot_either(
    empty_database_url: str, change: str
) -> None:
    name = empty_database_url.split("?", maxsplit=1)[0].rpartition("/")[2]
    owner = f"owner_of_{name}"
    async with connect(empty_database_url) as admin:
        await admin.execute(f"create role {owner} nosuperuser")
        await admin.execute(f"alter database {name} owner to {owner}")
        await admin.execute(f"alter schema public owner to {owner}")
    joint = "&" if "?" in empty_database_url else "?"
    url = f"{empty_database_url}{joint}role={owner}"
    await Migrator(url).up()
    async with await Database.open(url, max_size=1) as database:
        assert await database.fetchval("select current_user") == owner
        assert (
            await database.fetchval(
                "select tableowner from pg_tables where tablename = 'credit_entries'"
            )
            == owner
        )
        # First the privilege; then, were it granted back, the trigger.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(change)
        await database.execute(f"grant all on credit_entries to {owner}")
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await database.execute(change)
    async with connect(empty_database_url) as admin:
        await admin.execute(f"reassign owned by {owner} to current_user")
        await admin.execute(f"drop owned by {owner}")
        await admin.execute(f"drop role {owner}")
