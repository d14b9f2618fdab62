"""More calls than the counters keep up with are refused: they are not lost, so nothing is blind."""

import asyncio

from api.domain.errors import Unavailable
from api.gates.outcome import Consumption
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.lenient]
name = "Lenient"
kind = "metered"
outage = "open"

[features.careful]
name = "Careful"
kind = "metered"
outage = { bounded = 1000 }

[plans.free]
name = "Free"
[plans.free.features]
lenient.day = 10000
careful.day = 10000
"""
CALLS = 400
TOLD = "too many calls wait for the counters; try again"


async def test_a_call_that_finds_too_many_waiting_is_refused_and_never_passes_blind(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    at = ms(clock.now())
    async with opened(
        database_url, redis_url, clock, CATALOG, HEADROOM_REDIS_MAX_WAITING="100"
    ) as core:
        for feature in ("lenient", "careful"):
            await core.gate.consume("acme", feature, 1, None, at)
            outcomes = await asyncio.gather(
                *(
                    core.gate.consume("acme", feature, 1, f"{feature}-{n}", at)
                    for n in range(CALLS)
                ),
                *(core.gate.check("acme", feature, 1, at) for _ in range(CALLS)),
                return_exceptions=True,
            )
            refused = [o for o in outcomes if isinstance(o, BaseException)]
            assert refused
            assert all(isinstance(error, Unavailable) for error in refused)
            assert {str(error) for error in refused} == {TOLD}
            passed = [o for o in outcomes if isinstance(o, Consumption)]
            assert passed
            assert not any(one.degraded for one in passed)
            figures = (await core.gate.figures("acme", [feature], at))[feature]
            assert figures is not None
            assert figures[0].used == 1 + len(passed)
        assert await core.database.fetchval("select count(*) from blind_operations") == 0
