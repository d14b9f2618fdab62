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

import orjson

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
    """One process, and the next one in its place.

    It is launched before its engines are up, so that it is loaded by the time they are; what leads
    it to them is told through a pipe, where no other user of the machine can read it.
    """

    def __init__(
        self, name: str, module: str, base: Mapping[str, str], listen: int | None = None
    ) -> None:
        self.name = name
        self.settings: Mapping[str, str] = {}
        """Settings beside those of the environment; to be there when the process is started."""
        self._module = module
        self._base = base
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: tuple[int, int] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now, or ran last."""
        return None if self._process is None else self._process.pid

    def launch(self) -> None:
        """Have the process loaded; it does nothing before ``start``.

        To be called from the main thread: the kernel ends the process with its thread.
        """
        ready, tells_ready = os.pipe()
        told, tells = os.pipe()
        handed = [told, tells_ready]
        command = [sys.executable, "-m", self._module, "--parent", str(os.getpid())]
        command += ["--settings", str(told), "--ready", str(tells_ready)]
        if self._listen is not None:
            command += ["--listen", str(self._listen)]
            handed.append(self._listen)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                command,
                env=dict(self._base),
                stdin=subprocess.DEVNULL,
                pass_fds=handed,
                start_new_session=True,
            )
        finally:
            os.close(told)
            os.close(tells_ready)
        self._pipes = (ready, tells)

    async def start(self) -> None:
        """Have the process do its work, and wait until it does. Raises: DidNotStart."""
        if self._pipes is None:
            self.launch()
        ready, tells = self._pipes or (-1, -1)
        self._pipes = None
        try:
            with suppress(BrokenPipeError):
                os.write(tells, orjson.dumps(dict(self.settings)))
            os.close(tells)
            if not await _told(ready):
                await self.ended()
                raise DidNotStart(f"The {self.name} process ended before it was ready.")
        finally:
            os.close(ready)

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
            await self.ended()
            if loop.time() - began > LASTING_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error("a process died; starting it again", extra={"process_name": self.name})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            with suppress(DidNotStart):
                await self.start()

    async def stop(self) -> None:
        """End the process: at once where it was only loaded, else once its work is finished.

        It is killed where it does not end in time.
        """
        if self._pipes is not None:
            # Without settings it ends by itself.
            for pipe in self._pipes:
                os.close(pipe)
            self._pipes = None
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
