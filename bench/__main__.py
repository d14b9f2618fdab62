"""Measure what Headroom costs, and print it. ``make bench`` runs everything but growth.

Nothing here fails for being slow; the last table says which goals were met. Parts:
requests        CPU, rate and latency of every door, beside what others would write (needs wrk)
steps           how many steps of the interpreter one request takes
json            what a request's JSON costs, alone and amid other work
judge           what a decision costs Valkey, beside a script by hand
credits         a debit of credits, beside a transaction by hand
storage         bytes of counters and snapshots, and how long filling takes
drain           from the journal to the record
webhooks        from an event to a right
reconciliation  comparing everything with Stripe
growth          what changes between a thousand and a million customers
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

from bench import credits as debits
from bench import (
    drain,
    growth,
    json_cost,
    judge,
    reconciliation,
    requests,
    steps,
    storage,
    webhooks,
)
from bench.goals import verdicts
from bench.machine import described
from bench.rivals import NAMES

USUAL = (
    "requests",
    "steps",
    "json",
    "judge",
    "credits",
    "storage",
    "drain",
    "webhooks",
    "reconciliation",
)
PARTS = (*USUAL, "growth", "all")


def tell(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; nothing: all but growth"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of requests, credits, growth")
    parser.add_argument("--seconds", type=int, default=4, help="how long each is loaded a round")
    parser.add_argument("--only", metavar="NAME,NAME", help=f"of requests: {', '.join(NAMES)}")
    parser.add_argument(
        "--mercurius",
        action="store_true",
        help="requests: also Mercurius with graphql-jit, fetched by npm at first; so does all",
    )
    parser.add_argument(
        "--customers",
        default=None,
        metavar="N[,N]",
        help="how many: of storage and reconciliation 100000, of growth 1000,100000,1000000",
    )
    given = parser.parse_args()
    unknown = set(given.what) - set(PARTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")
    try:
        everybody = given.mercurius or "all" in given.what
        given.wanted = requests.chosen(given.only, mercurius=everybody)
        given.sizes = [int(size) for size in (given.customers or "").split(",") if size]
    except ValueError as error:
        parser.error(str(error))
    return given


async def main() -> None:
    """Run what was asked for, and say which goals were met."""
    given = asked()
    parts = set(given.what or USUAL)
    if "all" in parts:
        parts = set(PARTS)
    sizes = given.sizes or growth.SIZES
    many = given.sizes[-1] if given.sizes else 100_000
    rounds, seconds = given.rounds, given.seconds
    runs: dict[str, Callable[[], Awaitable[Mapping[str, float] | None]]] = {
        "requests": lambda: requests.run(rounds, seconds, tell, given.wanted),
        "steps": lambda: steps.run(tell),
        "json": lambda: json_cost.run(tell),
        "judge": lambda: judge.run(rounds, tell),
        "credits": lambda: debits.run(rounds, seconds, tell),
        "storage": lambda: storage.run(many, tell),
        "drain": lambda: drain.run(tell),
        "webhooks": lambda: webhooks.run(tell),
        "reconciliation": lambda: reconciliation.run(many, rounds, tell),
        "growth": lambda: growth.run(sizes, rounds, seconds, tell),
    }
    tell(described())
    found: dict[str, float] = {}
    for part, run in runs.items():
        if part in parts:
            tell(f"\n{part}")
            found.update(await run() or {})
    if found:
        tell("")
        for line in verdicts(found, parts):
            tell(line)


if __name__ == "__main__":
    # However it is ended, nothing that it started is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(main())
