from collections.abc import AsyncIterator

import pytest

from tests.support.clock import FakeClock
from tests.support.graphql import Api, served


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving
