"""``python -m bench``: measure and print. ``make bench`` runs everything."""

import argparse
import asyncio

from bench import credits as debits
from bench import drain, judge, reconciliation, requests, storage, webhooks

PARTS = ("requests", "judge", "credits", "storage", "drain", "webhooks", "reconciliation")


def tell(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)


async def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--customers", type=int, default=100_000)
    given = parser.parse_args()
    asked = given.what or PARTS
    tell(requests.machine())
    if "requests" in asked:
        await requests.run(given.rounds, given.seconds, tell)
    if "judge" in asked:
        await judge.run(given.rounds, tell)
    if "credits" in asked:
        await debits.run(given.rounds, given.seconds, tell)
    if "storage" in asked:
        await storage.run(given.customers, tell)
    if "drain" in asked:
        await drain.run(tell)
    if "webhooks" in asked:
        await webhooks.run(tell)
    if "reconciliation" in asked:
        await reconciliation.run(given.customers, given.rounds, tell)


asyncio.run(main())
