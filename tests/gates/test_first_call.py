"""The first call of a process, which makes its connections."""

from api.gates.outcome import Consumption
from api.infra.settings import Settings
from api.wiring import core
from tests.gates.test_consume import CATALOG
from tests.support.clock import FakeClock
from tests.support.gate import ms, opened


async def test_a_journaled_feature_is_answered_as_soon_as_the_process_is_asked(
    database_url: str, redis_url: str, clock: FakeClock
) -> None:
    async with opened(database_url, redis_url, clock, CATALOG) as built:
        assert isinstance(
            await built.gate.consume("acme", "posts", 1, None, ms(clock.now())), Consumption
        )
    settings = Settings.from_environment({"HEADROOM_ENV": "development"})
    async with core(settings, clock, database_url, redis_url) as fresh:
        first = await fresh.gate.consume("acme", "posts", 1, None, ms(clock.now()))
        assert isinstance(first, Consumption)
        assert first.windows[0].used == 2
