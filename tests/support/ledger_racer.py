"""One process of a race for one balance or one hold, on a record that other processes use too.

``python -m tests.support.ledger_racer DATABASE_URL CUSTOMER_ID FEATURE_ID CREDITS CALLERS KEYS
AT_ISO HOLD`` waits for a line on its standard input, lets ``CALLERS`` callers go at once, and
prints how many ended how. ``KEYS`` names how many operation ids all of them share (0: none);
``HOLD`` is the hold that they end in place of being charged ("-": none).
"""

import asyncio
import json
import os
import sys
from collections import Counter
from datetime import datetime, timedelta

from api.infra.postgres import Database
from api.ledger.charges import Charge, ChargedItem, Charges
from api.ledger.holds import Change, Holds, Resolution
from api.metering.partitions import Partitions


async def race(arguments: list[str]) -> Counter[str]:
    """Run this process's callers; return how their calls ended."""
    url, *numbers, moment, hold = arguments
    customer, feature, cost, callers, names = map(int, numbers)
    at = datetime.fromisoformat(moment)
    async with await Database.open(url, max_size=4) as database:
        charges, holds = Charges(database, Partitions(database).ensure), Holds(database)
        print("ready", flush=True)  # noqa: T201 - what the race waits for
        await asyncio.to_thread(sys.stdin.readline)

        async def charge(number: int) -> str:
            attempt = f"~{os.getpid()}-{number}"
            decided = await charges.decide(
                Charge(
                    customer_id=customer,
                    operation_id=f"race-{number % names}" if names else attempt,
                    attempt=attempt,
                    at=at,
                    fingerprint="same",
                    expires_at=at + timedelta(hours=1),
                    answer=b"",
                    items=[ChargedItem(feature, 1, 1, cost)],
                    reason="used",
                    actor="test",
                )
            )
            return decided.outcome.name

        async def end(number: int) -> str:
            kind = Resolution.CAPTURE if number % 2 else Resolution.VOID
            told = await holds.change(
                Change(
                    customer_id=customer,
                    hold_id=hold,
                    operation_id=f"~end-{os.getpid()}-{number}",
                    resolution=kind,
                    at=at,
                    fingerprint=kind.value,
                    expires_at=at + timedelta(hours=1),
                    reason="used",
                    actor="test",
                )
            )
            return told.outcome.name

        call = charge if hold == "-" else end
        outcomes = await asyncio.gather(*(call(n) for n in range(callers)), return_exceptions=True)
    return Counter(o if isinstance(o, str) else repr(o) for o in outcomes)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(race(sys.argv[1:]))))  # noqa: T201 - the result
