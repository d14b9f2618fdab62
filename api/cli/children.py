"""The processes that a server is made of: started, waited for, started again, renewed, stopped.

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
"""How long a process may take to end, beside what it waits for."""
START_SECONDS = 60.0
"""How long a process may take from its settings until it does its work."""
_POLL_SECONDS = 0.02


class DidNotStart(Unavailable):
    """A process of ours could not do its work; what it said itself is on stderr."""


class Process:
    """One process of ours, from its launch to its end.

    It is launched before its engines are up, so that it is loaded by the time they are; what leads
    it to them is told through a pipe, where no other user of the machine can read it.
    """

    def __init__(self, name: str, module: str, base: Mapping[str, str], listen: int | None) -> None:
        """Have the process loaded; it does nothing before ``start``.

        To be called from the main thread: the kernel ends the process with its thread.

        Raises: DidNotStart, where the system has no file, memory or process for it.
        """
        self._name = name
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            ready, tells_ready, told, tells = ends
            handed = [told, tells_ready]
            command = [sys.executable, "-m", module, "--parent", str(os.getpid())]
            command += ["--settings", str(told), "--ready", str(tells_ready)]
            if listen is not None:
                command += ["--listen", str(listen)]
                handed.append(listen)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                command,
                env=dict(base),
                stdin=subprocess.DEVNULL,
                pass_fds=handed,
                start_new_session=True,
            )
        except OSError as error:
            for end in ends:
                os.close(end)
            raise DidNotStart(f"The {name} process was not launched: {error}.") from error
        os.close(told)
        os.close(tells_ready)
        self._pipes: tuple[int, int] | None = (ready, tells)

    @property
    def pid(self) -> int:
        """The id of the process, also once it has ended."""
        return self._process.pid

    async def start(self, settings: Mapping[str, str], patience_seconds: float) -> None:
        """Have the process do its work, and wait until it does.

        Raises: DidNotStart; the process is gone then, killed where it was not ready in time.
        """
        ready, tells = self._pipes or (-1, -1)
        self._pipes = None
        try:
            with suppress(BrokenPipeError):
                os.write(tells, orjson.dumps(dict(settings)))
            os.close(tells)
            async with asyncio.timeout(patience_seconds):
                if not await _told(ready):
                    await self.ended()
                    raise DidNotStart(f"The {self._name} process ended before it was ready.")
        except TimeoutError:
            self._process.kill()
            await self.ended()
            late = f"was not ready within {patience_seconds:g} seconds, and was killed"
            raise DidNotStart(f"The {self._name} process {late}.") from None
        finally:
            os.close(ready)

    @property
    def lives(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    async def ended(self) -> None:
        """Wait until the process has ended."""
        while self.lives:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self, number: signal.Signals, patience_seconds: float) -> None:
        """End the process: at once where it was only loaded, else once its work is finished.

        It is told by the signal, and killed where it does not end in time.
        """
        if self._pipes is not None:
            # Without settings it ends by itself.
            for pipe in self._pipes:
                os.close(pipe)
            self._pipes = None
        for one in (number, signal.SIGKILL):
            if not self.lives:
                return
            self._process.send_signal(one)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self.ended()


class Child:
    """One process, and the next one in its place.

    ``replaced_by`` is the signal that tells it to leave its place to another.
    """

    def __init__(
        self,
        name: str,
        module: str,
        base: Mapping[str, str],
        listen: int | None = None,
        *,
        replaced_by: signal.Signals = signal.SIGTERM,
        leaving_seconds: float = 0,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.name = name
        self.settings: Mapping[str, str] = {}
        """Settings beside those of the environment; to be there when the process is started."""
        self._module = module
        self._base = base
        self._listen = listen
        self._replaced_by = replaced_by
        self._start_seconds = start_seconds
        self._patience_seconds = PATIENCE_SECONDS + leaving_seconds
        self._running: Process | None = None
        self._beside: set[Process] = set()  # on their way into the place, or out of it
        self._placing = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now, or ran last."""
        return None if self._running is None else self._running.pid

    def launch(self) -> None:
        """Have a process loaded, as ``Process`` does. Raises: DidNotStart."""
        self._running = self._launched()

    async def start(self) -> None:
        """Have the launched process do its work, and wait until it does. Raises: DidNotStart."""
        if self._running is not None:
            await self._running.start(self.settings, self._start_seconds)

    async def keep(self) -> None:
        """Start the process again whenever it ends, for ever."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            watched = self._running
            while watched is not None and self._running is watched and watched.lives:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
            if self._running is not watched:
                continue  # it left its place to another
            if loop.time() - began > LASTING_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error("a process died; starting it again", extra={"process_name": self.name})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            async with self._placing:
                if self._running is watched:
                    await self._start_again()

    async def _start_again(self) -> None:
        try:
            self.launch()
            await self.start()
        except DidNotStart as error:
            log.error("%s", error)  # noqa: TRY400 - its own words say why

    async def renew(self) -> None:
        """Put a new process in the place of the one that runs, with no moment between the two.

        Raises: DidNotStart; the old one goes on then.
        """
        async with self._placing:
            new = self._launched()
            self._beside.add(new)
            try:
                await new.start(self.settings, self._start_seconds)
            except DidNotStart:
                self._beside.discard(new)
                raise
            old, self._running = self._running, new
            self._beside.discard(new)
        if old is not None:
            self._beside.add(old)
            await old.stop(self._replaced_by, self._patience_seconds)
            self._beside.discard(old)

    async def stop(self) -> None:
        """End every process of this place, as ``Process.stop`` does."""
        processes = self._beside | ({self._running} if self._running is not None else set())
        await asyncio.gather(
            *(one.stop(signal.SIGTERM, self._patience_seconds) for one in processes)
        )

    def _launched(self) -> Process:
        return Process(self.name, self._module, self._base, self._listen)


async def keep_all(children: Sequence[Child], renewal: asyncio.Event) -> None:
    """Keep every child running, for ever, and renew them all whenever ``renewal`` is set."""
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.keep(), name=f"keep {child.name}")
        while True:
            await renewal.wait()
            renewal.clear()
            await _renew(children)


async def _renew(children: Sequence[Child]) -> None:
    """Renew one after another, up to the first that does not start: the others stay as they are."""
    log.info("renewing every process", extra={"processes": len(children)})
    try:
        for child in children:
            await child.renew()
    except DidNotStart as error:
        log.error("not every process was renewed: %s", error)  # noqa: TRY400 - its own words say why
    else:
        log.info("every process was renewed")


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
