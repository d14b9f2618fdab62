import pytest

from api.infra.postgres import Database
from tests.support.books import Books, open_books
from tests.support.clock import FakeClock


@pytest.fixture
async def books(database: Database, clock: FakeClock) -> Books:
    return await open_books(database, clock.now())
