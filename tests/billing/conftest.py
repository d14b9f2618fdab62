"""Two billing desks: one that has only events to go by, and one that can read objects again."""

from collections.abc import AsyncIterator

import pytest

from tests.support.billing import Desk, desk
from tests.support.clock import FakeClock
from tests.support.stripe_server import KEY, StripeServer, stripe_server


@pytest.fixture
async def hearsay(database_url: str, redis_url: str, clock: FakeClock) -> AsyncIterator[Desk]:
    """Return a desk without a key: the state that an event tells stands for the object."""
    async with desk(database_url, redis_url, clock) as opened:
        yield opened


@pytest.fixture
async def stripe() -> AsyncIterator[StripeServer]:
    async with stripe_server() as server:
        yield server


@pytest.fixture
async def reading(
    database_url: str, redis_url: str, clock: FakeClock, stripe: StripeServer
) -> AsyncIterator[Desk]:
    """Return a desk with a key: every object is read again."""
    async with desk(database_url, redis_url, clock, api_key=KEY, api_base=stripe.address) as opened:
        yield opened
