"""Where a command finds the record and the counters: named by the environment, or running here."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from api.domain.errors import Unavailable
from api.infra.clock import SystemClock
from api.infra.engines.data_dir import default_data_dir
from api.infra.engines.embedded import find_running
from api.infra.settings import Settings
from api.wiring import Core, core


class NoServer(Unavailable):
    """Neither named engines nor a running embedded server; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The two engines, and the address past any pooler, for migrations."""

    database_url: str
    redis_url: str
    direct_url: str

    @classmethod
    def find(cls, settings: Settings, data_dir: Path | None) -> Self:
        """Return the engines to use; a folder that is named wins over the environment.

        Raises: NoServer, EngineError.
        """
        if settings.database_url and settings.redis_url and data_dir is None:
            direct = settings.database_direct_url or settings.database_url
            return cls(settings.database_url, settings.redis_url, direct)
        folder = data_dir_of(settings, data_dir)
        running = find_running(folder)
        if running is None:
            hint = "set DATABASE_URL and REDIS_URL"
            if data_dir is None and (settings.database_url or settings.redis_url):
                missing = "REDIS_URL" if settings.database_url else "DATABASE_URL"
                hint = f"set {missing} too"
            raise NoServer(
                f"No Headroom is running on {folder}. Start one with 'headroom serve', name "
                f"another folder with --data-dir or HEADROOM_DATA_DIR, or {hint}."
            )
        return cls(running.database_url, running.redis_url, running.database_url)

    def environment(self) -> dict[str, str]:
        """Return the settings that lead another process to these engines."""
        named = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        if self.direct_url != self.database_url:
            named["DATABASE_DIRECT_URL"] = self.direct_url
        return named


def data_dir_of(settings: Settings, data_dir: Path | None) -> Path:
    """Return the data folder that is meant."""
    return data_dir or settings.data_dir or default_data_dir(os.environ)


@asynccontextmanager
async def opened(settings: Settings, data_dir: Path | None) -> AsyncGenerator[Core]:
    """Open the core on the engines found. Raises: NoServer, EngineError, Unavailable."""
    engines = Engines.find(settings, data_dir)
    async with core(settings, SystemClock(), engines.database_url, engines.redis_url) as built:
        yield built
