"""Run the simulated Stripe as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

from tests.stripe_sim.control import controlled
from tests.stripe_sim.simulation import SimulatedStripe


class _Machine:
    """The machine's clock, which can be moved ahead."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def set(self, at: datetime) -> None:
        self._ahead = at - datetime.now(UTC)

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime:
        self._ahead += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.now()


async def _run(port: int) -> None:
    simulated = SimulatedStripe(_Machine())
    async with controlled(simulated, port) as address:
        print(address)  # noqa: T201 - whoever started it reads where it listens
        told = {
            "STRIPE_API_BASE": address,
            "STRIPE_SECRET_KEY": simulated.key,
            "STRIPE_WEBHOOK_SECRET": simulated.webhooks.secret,
        }
        said = " ".join(f"{name}={value}" for name, value in told.items())
        print("export", said, flush=True)  # noqa: T201 - for a person to paste
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.stripe_sim")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_run(parser.parse_args().port))


if __name__ == "__main__":
    main()
