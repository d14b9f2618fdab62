"""A real server in its own process: ``headroom serve``, to be asked, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import below, runs
from tests.support.waiting import until

_PROGRAM = "from api.cli import main; main()"
_READY = b"Headroom ready on "


class Server:
    """One ``headroom serve``; what it logs goes to ``log``."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""
        self.up = asyncio.Event()

    async def start(self) -> None:
        """Start it, and return when it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _PROGRAM,
                "serve",
                "--port",
                "0",
                *self._arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        assert line.startswith(_READY), self._log.read_text()
        self.address = line.removeprefix(_READY).decode().strip()
        self.up.set()

    async def kill(self) -> None:
        """``kill -9``, whatever it is doing."""
        assert self._process is not None
        self.up.clear()
        self._process.kill()
        await self._process.wait()

    async def kill_part(self, module: str) -> None:
        """``kill -9`` of each process that runs ``module``; others are started in their place.

        Waits for one where those that were killed before are not replaced yet.
        """
        process = self._process
        assert process is not None

        def parts() -> list[int]:
            return [pid for pid in below(process.pid) if runs(pid, module)]

        await until(lambda: bool(parts()))
        for pid in parts():
            os.kill(pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop it as Ctrl-C would."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()


@asynccontextmanager
async def server(log: Path, *arguments: str | Path, **environment: str) -> AsyncGenerator[Server]:
    """Run a server for the length of the block; only its own environment is added."""
    made = Server([str(one) for one in arguments], environment, log)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
