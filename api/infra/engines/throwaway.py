"""Engines for one test session or one measurement: fast, private, gone afterwards."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from api.infra.engines.data_dir import DataDir
from api.infra.engines.embedded import start_together
from api.infra.engines.postgres_server import PostgresServer
from api.infra.engines.programs import Programs
from api.infra.engines.valkey_server import ValkeyServer

# A killed process loses nothing without these: only a machine that loses power would.
_UNSAFE = {"fsync": "off", "full_page_writes": "off", "io_method": "sync"}


class ThrowawayEngines:
    """Both engines on a temporary folder, to be killed and restarted one by one."""

    def __init__(self, folder: Path, postgres: PostgresServer, valkey: ValkeyServer) -> None:
        self._folder = folder
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

    @classmethod
    @asynccontextmanager
    async def start(cls, *, append_only: bool = False) -> AsyncGenerator[Self]:
        """Run both for the length of the block; ``append_only`` keeps Valkey's data over restarts.

        They end with the thread that entered, however it ends.
        """
        folder = _folder()
        try:
            with DataDir.hold(folder / "data") as held:
                programs = Programs.reachable_by(held.identity, held.programs)
                postgres = PostgresServer(held.place("PostgreSQL"), programs.postgres_bin, _UNSAFE)
                valkey = ValkeyServer(
                    held.place("Valkey"), programs.valkey_server, append_only=append_only
                )
                engines = cls(folder, postgres, valkey)
                try:
                    await start_together(postgres, valkey)
                    yield engines
                finally:
                    await asyncio.gather(engines.kill_valkey(), engines.kill_postgres())
        finally:
            shutil.rmtree(folder)

    async def kill_postgres(self) -> None:
        """``kill -9`` the server, and wait until its backends have noticed and ended."""
        if self.postgres.child is not None:
            await self.postgres.child.kill()

    async def restart_postgres(self) -> None:
        """``kill -9`` the server if it runs, and start it again on what it kept."""
        await self.kill_postgres()
        await self.postgres.start()

    async def kill_valkey(self) -> None:
        """``kill -9`` the server."""
        if self.valkey.child is not None:
            await self.valkey.child.kill()

    async def restart_valkey(self, append_only_copy: Path | None = None) -> None:
        """``kill -9`` the server if it runs, and start it on what it kept, or on an older copy."""
        await self.kill_valkey()
        if append_only_copy is not None:
            self.valkey.restore_append_only_file(append_only_copy)
        await self.valkey.start()

    def copy_append_only_file(self) -> Path:
        """Copy Valkey's append-only file as it is now, to come back to."""
        copy = Path(tempfile.mkdtemp(prefix="aof-", dir=self._folder)) / "copy"
        self.valkey.copy_append_only_file(copy)
        return copy


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="headroom-throwaway-"))
    folder.chmod(0o711)  # for the engines' user, where we are root; what is inside is closed
    return folder
