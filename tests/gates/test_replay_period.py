"""An idempotency key keeps its answer for the whole period that the feature publishes."""

import pytest

from api.gates.outcome import Consumption
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.fast]
kind = "metered"
replay_seconds = 3600

[features.sure]
kind = "metered"
durability = "journaled"
replay_seconds = 3600

[plans.free.features]
fast.day = 8
sure.day = 8
"""


@pytest.mark.parametrize("feature", ["fast", "sure"])
async def test_a_key_counts_once_to_the_end_of_a_long_period_and_anew_after_it(
    database_url: str, redis_url: str, clock: FakeClock, feature: str
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as built:

        async def consume() -> Consumption:
            outcome = await built.gate.consume("acme", feature, 3, "key", ms(clock.now()))
            assert isinstance(outcome, Consumption)
            return outcome

        first = await consume()
        clock.advance(seconds=3599)
        again = await consume()
        assert (again.id, again.replayed, again.windows) == (first.id, True, first.windows)
        clock.advance(seconds=1)
        anew = await consume()
        assert (anew.replayed, anew.windows[0].used) == (False, 6)
