"""One process of a race: many callers at once, on engines that other processes use too.

``python -m tests.support.racer DATABASE_URL REDIS_URL CUSTOMER FEATURE UNITS CALLERS KEYS AT_MS``
waits for a line on its standard input, lets ``CALLERS`` callers go at once, and prints how many
were allowed, replayed, denied and failed. ``KEYS`` names how many idempotency keys they share
(0: none).
"""

import asyncio
import json
import sys
from collections import Counter

from api.gates.outcome import Consumption, Denied
from api.infra.clock import SystemClock
from api.infra.settings import Settings
from api.wiring import core


async def race(arguments: list[str]) -> dict[str, int]:
    """Run this process's callers; return how their calls ended."""
    database_url, redis_url, customer, feature, *numbers = arguments
    units, callers, names, at = map(int, numbers)
    settings = Settings.from_environment({"HEADROOM_ENV": "development"})
    async with core(settings, SystemClock(), database_url, redis_url) as built:
        await built.door.command("PING")
        print("ready", flush=True)  # noqa: T201 - what the race waits for
        await asyncio.to_thread(sys.stdin.readline)

        async def call(number: int) -> str:
            key = f"race-{number % names}" if names else None
            outcome = await built.gate.consume(customer, feature, units, key, at)
            if isinstance(outcome, Denied):
                return "denied"
            assert isinstance(outcome, Consumption)
            return "replayed" if outcome.replayed else "allowed"

        outcomes = await asyncio.gather(*(call(n) for n in range(callers)), return_exceptions=True)
    return Counter(o if isinstance(o, str) else repr(o) for o in outcomes)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(race(sys.argv[1:]))))  # noqa: T201 - the result
