"""The embedded engines of one server: PostgreSQL and Valkey on one data folder, kept alive.

``kill -9`` at any moment, of us or of them, loses nothing that was acknowledged as kept, and the
next start needs no cleaning.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from api.infra.engines.data_dir import DataDir, read_runtime
from api.infra.engines.errors import EngineError
from api.infra.engines.postgres_server import PostgresServer
from api.infra.engines.programs import Programs
from api.infra.engines.valkey_server import ValkeyServer

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class EngineUrls:
    """Where the two engines are."""

    database_url: str
    redis_url: str


class EmbeddedEngines:
    """Both engines, started together, restarted when one dies, stopped together."""

    def __init__(self, data_dir: DataDir, postgres: PostgresServer, valkey: ValkeyServer) -> None:
        self._data_dir = data_dir
        self.postgres = postgres
        self.valkey = valkey

    @property
    def database_url(self) -> str:
        """The DSN of Headroom's database."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """The URL of Valkey."""
        return self.valkey.url

    @property
    def database_pid(self) -> int | None:
        """The id of PostgreSQL's first process, once started."""
        return None if self.postgres.child is None else self.postgres.child.pid

    @property
    def redis_pid(self) -> int | None:
        """The id of Valkey's process, once started."""
        return None if self.valkey.child is None else self.valkey.child.pid

    @classmethod
    @asynccontextmanager
    async def start(cls, data_dir: Path) -> AsyncGenerator[Self]:
        """Run both engines on this folder for the length of the block.

        To be entered from the main thread: the kernel ends the engines with the thread that
        started them.

        Raises: EngineError, saying what to do, where the folder or an engine cannot be used.
        """
        with DataDir.hold(data_dir) as held:
            programs = Programs.reachable_by(held.identity, held.programs)
            postgres = PostgresServer(held.place("PostgreSQL"), programs.postgres_bin)
            valkey = ValkeyServer(held.place("Valkey"), programs.valkey_server)
            engines = cls(held, postgres, valkey)
            keepers: list[asyncio.Task[None]] = []
            try:
                await start_together(postgres, valkey)
                held.announce(postgres.url, valkey.url)
                keepers += [asyncio.create_task(_keep(server)) for server in (postgres, valkey)]
                yield engines
            finally:
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)
                await asyncio.gather(postgres.stop(), valkey.stop())


async def start_together(*servers: PostgresServer | ValkeyServer) -> None:
    """Start servers side by side.

    Raises: EngineError, the first one met, after every start has ended.
    """
    # Not a task group: in early 3.11 what leaves "except*" is wrapped in a group once more.
    starts = (server.start() for server in servers)
    for outcome in await asyncio.gather(*starts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def find_running(data_dir: Path) -> EngineUrls | None:
    """Return where the engines of the server now running on this folder are, if one is ready.

    Raises: EngineError, where the folder belongs to somebody else.
    """
    runtime = read_runtime(data_dir)
    if runtime is None or runtime.database_url is None or runtime.redis_url is None:
        return None
    return EngineUrls(runtime.database_url, runtime.redis_url)


async def _keep(server: PostgresServer | ValkeyServer) -> None:
    pause = 0.1
    while server.child is not None:
        await server.child.ended()
        _log.error("embedded engine died; starting it again", extra={"engine": server.name})
        try:
            await server.start()
            pause = 0.1
        except EngineError as error:
            _log.error("embedded engine did not start: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
