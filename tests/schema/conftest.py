from collections.abc import AsyncIterator

import pytest

from tests.support.clock import FakeClock
from tests.support.dealing import Dealing, dealing
from tests.support.graphql import Api, served


@pytest.fixture
async def api(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Api]:
    async with served(database_url, redis_url, clock) as serving:
        yield serving


@pytest.fixture
async def deal(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Dealing]:
    """Return an installation beside the simulated Stripe; see ``dealing``."""
    async with dealing(database_url, redis_url, clock) as opened:
        yield opened
