"""Headroom itself, executed by graphql-core alone: ``python -m bench.peers.general PORT``.

The same schema, resolvers, cached documents, checks and doors; only what compiles operations is
off. Settings come from the environment, as for a serving process.
"""

import gc
import os
import socket
import sys
from functools import partial
from inspect import signature

import uvloop

from api.app.server import serve
from api.infra.clock import SystemClock
from api.infra.settings import Settings
from api.infra.telemetry import configure_logging
from api.schema.execution import Executor
from api.wiring import graphql

LISTENS = "graphql-core listens"


def main() -> None:
    """Serve until told to stop."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    if "compiled" in signature(Executor).parameters:
        # In the place of the name by which it is made there.
        setattr(graphql, "Executor", partial(Executor, compiled=False))  # noqa: B010 - as said
    gc.collect()
    gc.freeze()
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048) as listening:
        listening.setblocking(False)  # noqa: FBT003 - the library's own
        print(LISTENS, flush=True)
        uvloop.run(serve(settings, SystemClock(), listening, None, None))


if __name__ == "__main__":
    main()
