"""One process of a race for credits and holds, on engines that other processes use too.

``python -m tests.support.credit_racer DATABASE_URL REDIS_URL CUSTOMER FEATURE UNITS CALLERS KEYS
AT_MS WHAT`` waits for a line on its standard input, lets ``CALLERS`` callers go at once, and prints
how their calls ended. ``WHAT`` is ``consume``, ``hold``, or the id of a hold that capture, void and
expiry are to end, in turns. ``KEYS`` names how many idempotency keys they share (0: none).
"""

import asyncio
import json
import sys
from collections import Counter
from datetime import timedelta

from api.domain.errors import HoldClosed
from api.gates.held import Hold, Whose
from api.gates.outcome import Consumption, Denied
from api.infra.clock import SystemClock
from api.infra.settings import Settings
from api.metering.journal import instant
from api.wiring import Core, core

ACTOR = "race"
HOLD_SECONDS = 600


async def race(arguments: list[str]) -> dict[str, int]:
    """Run this process's callers; return how their calls ended."""
    database_url, redis_url, customer, feature, *numbers, what = arguments
    units, callers, names, at = map(int, numbers)
    settings = Settings.from_environment({"HEADROOM_ENV": "development"})
    async with core(settings, SystemClock(), database_url, redis_url) as built:
        await built.door.command("PING")
        print("ready", flush=True)  # noqa: T201 - what the race waits for
        await asyncio.to_thread(sys.stdin.readline)

        async def call(number: int) -> str:
            key = f"race-{number % names}" if names else None
            if what == "consume":
                return _said(await built.gate.consume(customer, feature, units, key, at))
            if what == "hold":
                placing = built.holding.place(
                    customer, feature, units, key, at, seconds=HOLD_SECONDS, actor=ACTOR
                )
                return _said(await placing)
            return await _end(built, number, Whose(customer, what, key, at, ACTOR))

        outcomes = await asyncio.gather(*(call(n) for n in range(callers)), return_exceptions=True)
    return Counter(o if isinstance(o, str) else repr(o) for o in outcomes)


def _said(outcome: Consumption | Hold | Denied) -> str:
    if isinstance(outcome, Denied):
        return "denied"
    return "replayed" if outcome.replayed else "allowed"


async def _end(built: Core, number: int, whose: Whose) -> str:
    """End the hold as capture, void or expiry does."""
    try:
        if number % 3 == 0:
            await built.holding.expire(instant(whose.at_ms) + timedelta(seconds=HOLD_SECONDS))
            return "expired"
        if number % 3 == 1:
            outcome = await built.holding.capture(whose._replace(key=None))
            return "denied" if isinstance(outcome, Denied) else "captured"
        await built.holding.void(whose._replace(key=None))
    except HoldClosed:
        return "closed"
    return "voided"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(race(sys.argv[1:]))))  # noqa: T201 - the result
