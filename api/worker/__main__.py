"""One worker process: ``python -m api.worker``; started by ``headroom serve`` and ``worker``."""

from __future__ import annotations

import argparse
import os
from functools import partial

import uvloop

from api.infra.clock import Clock, SystemClock
from api.infra.lifetime import asked_to_stop, end_with, settings_from, tell_ready
from api.infra.settings import Settings
from api.infra.telemetry import configure_logging
from api.wiring.payments import catch_up_of, operations_of, watch_of
from api.wiring.working import working
from api.worker.comparing import comparing_of
from api.worker.work import Worker


def main() -> None:
    """Work until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m api.worker", description=__doc__)
    parser.add_argument("--settings", type=int, help="a pipe that tells settings")
    parser.add_argument("--ready", type=int, help="a pipe to tell when this process works")
    parser.add_argument("--parent", type=int, help="the process to end with")
    asked = parser.parse_args()
    if asked.parent is not None:
        end_with(asked.parent)
    settings = Settings.from_environment(os.environ | settings_from(asked.settings))
    configure_logging(settings.log_level)
    uvloop.run(_work(settings, SystemClock(), asked.ready, asked.parent))


async def _work(settings: Settings, clock: Clock, ready: int | None, parent: int | None) -> None:
    with asked_to_stop(insisting=parent is None) as stop:
        async with working(settings, clock) as (core, inbox, stripe):
            worker = Worker(
                core,
                inbox,
                comparing_of(core, stripe) if stripe.reads else None,
                catch_up_of(core, stripe),
                watch_of(core, stripe),
                operations_of(core, stripe),
            )
            await worker.run(partial(tell_ready, ready), stop)


if __name__ == "__main__":
    main()
