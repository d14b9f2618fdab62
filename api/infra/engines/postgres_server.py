"""Embedded PostgreSQL: a cluster in its folder, a server on a unix socket, nothing over TCP."""

import asyncio
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from api.domain.errors import Unavailable
from api.infra.engines.child import Child, Place, locked, run_once
from api.infra.engines.errors import EngineError
from api.infra.postgres import connect

_NAME = "headroom"  # of the role and of the database
_READY_SECONDS = 300  # recovery after a crash reads the log back
_ENDED_BY = signal.SIGINT  # "fast": disconnect everybody, write what is due, end

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
}


class PostgresServer:
    """One PostgreSQL server on one folder."""

    def __init__(
        self, place: Place, programs: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self._place = place
        self._programs = programs
        self._settings = {
            **_SETTINGS,
            "unix_socket_directories": '"' + str(place.sockets).replace('"', '""') + '"',
            **(settings or {}),
        }
        self.child: Child | None = None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self._place.name

    @property
    def url(self) -> str:
        """The DSN of Headroom's database on this server."""
        return self.database_url(_NAME)

    def database_url(self, database: str) -> str:
        """Return the DSN of a database on this server."""
        host = quote(str(self._place.sockets), safe="/")
        return f"postgresql://{_NAME}@/{database}?host={host}"

    async def start(self) -> None:
        """Make the cluster where there is none, start the server, and wait until it answers.

        Raises: EngineError, with the end of its log.
        """
        folder = self._place.folder
        async with locked(self._place, _ENDED_BY) as lock:
            if not (folder / "PG_VERSION").exists():
                await self._make_cluster(lock)
            self._clear_stale()
            settings = [part for k, v in self._settings.items() for part in ("-c", f"{k}={v}")]
            command: list[str | Path] = [self._programs / "postgres", "-D", folder, *settings]
            self.child = Child.start(self._place, lock, command, ended_by=_ENDED_BY)
        await self._ready(self.child)

    async def stop(self) -> None:
        """Disconnect everybody and end in order."""
        if self.child is not None:
            await self.child.stop(_ENDED_BY, signal.SIGQUIT)

    async def _ready(self, child: Child) -> None:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while True:
                    try:
                        async with connect(self.url):
                            return
                    except Unavailable:
                        child.require_running()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise EngineError(
                f"Embedded PostgreSQL did not become ready in {_READY_SECONDS} s; "
                f"see {self._place.log}."
            ) from None

    async def _make_cluster(self, lock: int) -> None:
        # Under another name first: a folder of the right name is always a whole cluster.
        folder, fresh = self._place.folder, self._place.folder.with_suffix(".new")
        if folder.exists() and any(folder.iterdir()):
            raise EngineError(f"{folder} holds something that is not a PostgreSQL cluster.")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._place.identity.give(fresh)
        unsynced = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        # The folder of the sockets lets nobody else in, so whoever comes is trusted. The builtin
        # locale sorts alike on every machine, whatever its C library.
        await run_once(
            self._place,
            lock,
            [
                self._programs / "initdb",
                f"--pgdata={fresh}",
                f"--username={_NAME}",
                "--auth-local=trust",
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *unsynced,
            ],
        )
        await run_once(
            self._place,
            lock,
            [self._programs / "postgres", "--single", "-D", fresh, "postgres"],
            stdin=f"create database {_NAME};\n".encode(),
        )
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)

    def _clear_stale(self) -> None:
        # We hold the lock that every process of an earlier server held: none is alive, whatever
        # process now happens to have the id these files name.
        (self._place.folder / "postmaster.pid").unlink(missing_ok=True)
        for leftover in self._place.sockets.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
