"""The processes that a server is made of: started, waited for, started again, stopped.

Each is a session of its own, so that Ctrl-C reaches the parent alone, and is killed by the kernel
when the parent dies. A process that ends by itself is started again, later each time it happens
quickly.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from api.domain.errors import Unavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
LASTING_SECONDS = 30.0
"""A process that lived for so long was well: its end is no reason to wait."""
PATIENCE_SECONDS = 15.0
_POLL_SECONDS = 0.02


class DidNotStart(Unavailable):
    """A process of ours ended before it did its work; its own words are on stderr."""


class Child:
    """One process, and the next one in its place."""

    def __init__(
        self, name: str, module: str, environment: Mapping[str, str], listen: int | None = None
    ) -> None:
        self.name = name
        self._module = module
        self._environment = environment
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now, or ran last."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it does its work. Raises: DidNotStart.

        To be called from the main thread: the kernel ends the process with its thread.
        """
        reader, writer = os.pipe()
        command = [sys.executable, "-m", self._module, "--parent", str(os.getpid())]
        command += ["--ready", str(writer)]
        handed = [writer]
        if self._listen is not None:
            command += ["--listen", str(self._listen)]
            handed.append(self._listen)
        try:
            # Not asyncio's own, which may start it from a thread that does not last.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own module
                command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                pass_fds=handed,
                start_new_session=True,
            )
        finally:
            os.close(writer)
        try:
            if not await _told(reader):
                await self.ended()
                raise DidNotStart(f"The {self.name} process ended before it was ready.")
        finally:
            os.close(reader)

    async def ended(self) -> int:
        """Wait until the process has ended; return its exit status."""
        process = self._process
        while process is not None and process.poll() is None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_POLL_SECONDS)
        return 0 if process is None else int(process.returncode)

    async def keep(self) -> None:
        """Start the process again whenever it ends, for ever."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            status = await self.ended()
            if loop.time() - began > LASTING_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error(
                "a process died; starting it again", extra={"name_": self.name, "status": status}
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            with suppress(DidNotStart):
                await self.start()

    async def stop(self) -> None:
        """Ask the process to finish what it does and end; kill it where it does not in time."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process is None or self._process.poll() is not None:
                return
            self._process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self.ended()


async def keep_all(children: Sequence[Child]) -> None:
    """Keep every child running, for ever."""
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.keep(), name=f"keep {child.name}")


async def _told(reader: int) -> bool:
    """Wait for one byte on the pipe; False when its other end was closed without one."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(reader, readable.set)
    try:
        await readable.wait()
        return os.read(reader, 1) == b"1"
    finally:
        loop.remove_reader(reader)
