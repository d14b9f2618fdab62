"""One serving process: ``python -m api.app --listen FD --ready FD --parent PID``.

Started by ``headroom serve``, which hands down the listening socket; several of them accept from
it side by side. Settings come from the environment.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket

import uvloop

from api.app.server import serve
from api.infra.clock import SystemClock
from api.infra.lifetime import end_with, settings_from
from api.infra.settings import Settings
from api.infra.telemetry import configure_logging


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m api.app", description=__doc__)
    parser.add_argument("--listen", type=int, required=True, help="a bound socket, handed down")
    parser.add_argument("--settings", type=int, help="a pipe that tells settings")
    parser.add_argument("--ready", type=int, help="a pipe to tell when this process answers")
    parser.add_argument("--parent", type=int, help="the process to end with")
    asked = parser.parse_args()
    if asked.parent is not None:
        end_with(asked.parent)
    settings = Settings.from_environment(os.environ | settings_from(asked.settings))
    configure_logging(settings.log_level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    sock = socket.socket(fileno=asked.listen)
    uvloop.run(serve(settings, SystemClock(), sock, asked.ready, asked.parent))


if __name__ == "__main__":
    main()
