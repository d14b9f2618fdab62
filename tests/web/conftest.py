from collections.abc import AsyncIterator

import pytest

from tests.support.clock import FakeClock
from tests.support.site import Site, site_on


@pytest.fixture
async def site(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Site]:
    async with site_on(database_url, redis_url, clock) as built:
        yield built
