"""A simulated Stripe, and the real package that talks to it."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
import stripe

from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def sim() -> AsyncGenerator[SimulatedStripe]:
    async with simulated_stripe(FakeClock(NOON)) as running:
        yield running


@pytest.fixture
async def api(sim: SimulatedStripe) -> AsyncGenerator[stripe.StripeClient]:
    http = stripe.HTTPXClient(timeout=5)
    yield stripe.StripeClient(
        sim.key, base_addresses={"api": sim.address}, http_client=http, max_network_retries=0
    )
    await http.close_async()  # type: ignore[no-untyped-call]
