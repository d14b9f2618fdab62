"""Embedded Valkey: an append-only file in its folder, a unix socket, nothing over TCP."""

import asyncio
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

from api.infra.engines.child import Child, Place, locked
from api.infra.engines.errors import EngineError

_READY_SECONDS = 300  # loading a large append-only file
_ENDED_BY = signal.SIGTERM
_SOCKET = "valkey.sock"
_AOF = "appendonlydir"


class ValkeyServer:
    """One Valkey server on one folder."""

    def __init__(self, place: Place, program: Path, *, append_only: bool = True) -> None:
        self._place = place
        self._program = program
        self._append_only = append_only
        self.child: Child | None = None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self._place.name

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._place.sockets / _SOCKET

    @property
    def url(self) -> str:
        """The URL that a client takes."""
        return f"unix://{quote(str(self.socket), safe='/')}"

    async def start(self) -> None:
        """Start the server and wait until it has loaded what it kept.

        Raises: EngineError, with the end of its log.
        """
        async with locked(self._place, _ENDED_BY) as lock:
            self._place.folder.mkdir(mode=0o700, exist_ok=True)
            self._place.identity.give(self._place.folder)
            self.socket.unlink(missing_ok=True)
            command: list[str | Path] = [self._program, *self._options()]
            self.child = Child.start(self._place, lock, command, ended_by=_ENDED_BY)
        await self._ready(self.child)

    async def stop(self) -> None:
        """Write what is due and end in order."""
        if self.child is not None:
            await self.child.stop(_ENDED_BY)

    def copy_append_only_file(self, to: Path) -> None:
        """Copy what the server has written so far, as a backup taken while it runs would."""
        shutil.copytree(self._place.folder / _AOF, to)

    def restore_append_only_file(self, copy: Path) -> None:
        """Put an older copy back in place of the present file; the server must be down."""
        present = self._place.folder / _AOF
        shutil.rmtree(present)
        shutil.copytree(copy, present)
        for path in (present, *present.iterdir()):
            self._place.identity.give(path)

    async def command(self, *words: str) -> str:
        """Send one command whose reply is one line, and return the line.

        This is for tending the server; whatever the product asks goes through its own door.
        """
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            writer.write(f"*{len(words)}\r\n{''.join(parts)}".encode())
            await writer.drain()
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()
            await writer.wait_closed()

    def _options(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._place.folder),
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",  # an evicted counter would be usage forgotten
            "hash-max-listpack-value": "256",  # a feature of a snapshot has about 90 bytes
            "loglevel": "notice",
        }
        return [part for k, v in settings.items() for part in (f"--{k}", v)]

    async def _ready(self, child: Child) -> None:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while True:
                    try:
                        if await self.command("PING") == "+PONG":
                            return
                    except OSError:
                        pass
                    child.require_running()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise EngineError(
                f"Embedded Valkey did not become ready in {_READY_SECONDS} s; "
                f"see {self._place.log}."
            ) from None
