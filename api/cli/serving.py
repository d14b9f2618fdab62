"""A whole server: engines, schema, catalog, and the processes that answer and work."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from api.catalog.file import load
from api.cli import development
from api.cli.children import Child, keep_all
from api.cli.development import Development
from api.cli.engines import Engines, data_dir_of
from api.cli.first_steps import first_steps
from api.cli.listening import address_of, listen
from api.cli.operator import actor_name
from api.cli.output import say
from api.domain.catalog import Catalog
from api.domain.errors import InvalidInput
from api.infra.clock import SystemClock
from api.infra.engines.embedded import EmbeddedEngines
from api.infra.lifetime import asked_to_stop, told_by
from api.infra.migrations import Migrator
from api.infra.settings import Settings
from api.infra.telemetry import SHARED_METRICS
from api.wiring import core

_METRICS = "headroom-metrics-"


@dataclass(frozen=True, slots=True)
class Serving:
    """What ``headroom serve`` was asked for."""

    settings: Settings
    host: str
    port: int
    data_dir: Path | None
    catalog: Path | None
    workers: int
    background: bool
    dev: bool
    reuse_port: bool = False


async def serve(asked: Serving) -> None:
    """Serve until told to stop; SIGHUP renews the processes, and no request notices.

    Raises: CannotListen, CatalogError, EngineError, DidNotStart, InvalidInput, Unavailable.
    """
    catalog = None if asked.catalog is None else load(asked.catalog)
    with (
        asked_to_stop() as stop,
        _renewal(asked) as renewal,
        listen(asked.host, asked.port, reuse=asked.reuse_port) as bound,
    ):
        serving = asyncio.create_task(_serve(asked, catalog, bound, renewal))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            # The processes have it too. When the last of them takes no more, a caller is refused
            # and goes elsewhere, where here it would be kept waiting for nobody.
            bound.close()
            # Also in the middle of a start: whatever was begun is taken down in order.
            serving.cancel()
        try:
            await serving
        except asyncio.CancelledError:
            if not stop.is_set():
                raise


@contextmanager
def _renewal(asked: Serving) -> Generator[asyncio.Event]:
    if asked.dev:
        # In front of somebody's terminal: when that hangs up, the server ends as any program.
        yield asyncio.Event()
    else:
        with told_by(signal.SIGHUP) as told:
            yield told


async def _serve(
    asked: Serving, catalog: Catalog | None, bound: socket.socket, renewal: asyncio.Event
) -> None:
    async with AsyncExitStack() as stack:
        metrics = stack.enter_context(_metrics())
        children = _children(asked, bound, metrics)
        stack.push_async_callback(_stop, children)
        for child in children:
            child.launch()
        engines = await stack.enter_async_context(_engines(asked))
        # Before the engines end, not after, as it was launched before they began.
        stack.push_async_callback(_stop, children)
        await Migrator(engines.direct_url).up()
        made, steps = await _prepare(asked, engines, catalog, address_of(bound))
        for child in children:
            child.settings = engines.environment() | _of_development(asked, made)
        await asyncio.gather(*(child.start() for child in children))
        say(f"Headroom ready on {address_of(bound)}")
        if steps:
            say(steps)
        await keep_all(children, renewal)


def _children(asked: Serving, bound: socket.socket, metrics: Path) -> list[Child]:
    base = os.environ | {SHARED_METRICS: str(metrics)}
    settings = asked.settings
    children = [
        Child(
            "serving",
            "api.app",
            base,
            bound.fileno(),
            replaced_by=signal.SIGHUP,
            leaving_seconds=settings.unready_seconds + settings.drain_seconds,
        )
        for _ in range(asked.workers)
    ]
    if asked.background:
        children.append(Child("worker", "api.worker", base))
    return children


def _of_development(asked: Serving, made: Development | None) -> dict[str, str]:
    if made is None:
        return {}
    settings = {"HEADROOM_ENV": "development"}
    if not asked.settings.stripe_webhook_secrets:
        settings["STRIPE_WEBHOOK_SECRET"] = made.webhook_secret
    return settings


@asynccontextmanager
async def _engines(asked: Serving) -> AsyncGenerator[Engines]:
    settings = asked.settings
    if settings.database_url or settings.redis_url:
        if not (settings.database_url and settings.redis_url):
            missing = "REDIS_URL" if settings.database_url else "DATABASE_URL"
            raise InvalidInput(f"Set {missing} too, or neither for embedded engines.")
        direct = settings.database_direct_url or settings.database_url
        yield Engines(settings.database_url, settings.redis_url, direct)
        return
    async with EmbeddedEngines.start(data_dir_of(settings, asked.data_dir)) as engines:
        yield Engines(engines.database_url, engines.redis_url, engines.database_url)


async def _prepare(
    asked: Serving, engines: Engines, catalog: Catalog | None, address: str
) -> tuple[Development | None, str]:
    """Apply the catalog, and make what a developer needs, with what to try first."""
    if catalog is None and not asked.dev:
        return None, ""
    clock = SystemClock()
    settings = replace(asked.settings, database_direct_url=None)
    async with core(settings, clock, engines.direct_url, engines.redis_url) as built:
        if catalog is not None:
            reason = f"serve --catalog {asked.catalog}"
            await built.revisions.apply(catalog, actor_name(), reason, clock.now())
        if not asked.dev:
            return None, ""
        made = await development.prepare(built, address, clock.now())
        return made, first_steps(made, built.revisions.newest.catalog, asked.data_dir)


async def _stop(children: list[Child]) -> None:
    await asyncio.gather(*(child.stop() for child in children))


@contextmanager
def _metrics() -> Generator[Path]:
    """Give the processes a folder in which they put their figures together.

    What a killed server left behind is cleared away by the next one.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_METRICS}*"):
        pid = left.name.removeprefix(_METRICS).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_METRICS}{os.getpid()}-") as folder:
        yield Path(folder)
