"""``headroom serve`` and ``headroom worker``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from api.cli.engines import Engines
from api.cli.options import DataDir
from api.cli.serving import Serving
from api.cli.serving import serve as run_server
from api.infra.settings import Settings
from api.infra.telemetry import configure_logging


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(serve)
    app.command()(worker)


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; HEADROOM_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="HEADROOM_PORT, else 8000; 0 takes a free one."),
    ] = None,
    data_dir: DataDir = None,
    catalog: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Apply this catalog before serving."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that answer, on one socket.")
    ] = 1,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Leave background work to 'headroom worker'.")
    ] = False,
    reuse_port: Annotated[
        bool,
        typer.Option(
            "--reuse-port", help="Listen beside another server of yours that was told so too."
        ),
    ] = False,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="For your own machine: GraphiQL, demo keys, what to try next."),
    ] = False,
) -> None:
    """Serve, with embedded engines unless DATABASE_URL and REDIS_URL name others.

    SIGTERM: requests under way end, then it stops. SIGHUP: every process is replaced by a new one,
    one after another, and no request is lost; so a newly installed version takes over.
    """
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    asked = Serving(
        settings=settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        data_dir=data_dir,
        catalog=catalog,
        workers=workers,
        background=not no_worker,
        dev=dev,
        reuse_port=reuse_port,
    )
    asyncio.run(run_server(asked))


def worker(data_dir: DataDir = None) -> None:
    """Do the background work of a server: draining, webhooks, publishing, housekeeping."""
    settings = Settings.from_environment(os.environ)
    engines = Engines.find(settings, data_dir)
    os.environ.update(engines.environment())
    # The same process from here on, so that whoever supervises it sees its signals and its end.
    os.execv(sys.executable, [sys.executable, "-m", "api.worker"])  # noqa: S606 - no shell
