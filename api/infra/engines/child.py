"""One engine's process: started so that it cannot outlive us, and locked so that it is alone.

The lock file is held by the engine itself: the open file is handed down to it and to whatever it
forks, so the lock ends with the last of them, however they end. Whoever holds the lock knows that
nothing of an earlier run is alive, and may clean up after it.
"""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from api.infra.engines.errors import EngineError
from api.infra.engines.identity import Identity

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_SECONDS = 0.02
_LOG_KEPT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where one engine lives, and as whom: its folder, its log and lock beside it, its sockets."""

    name: str
    folder: Path
    sockets: Path
    identity: Identity

    @property
    def log(self) -> Path:
        """The engine's own words."""
        return self.folder.with_suffix(".log")

    @property
    def lock(self) -> Path:
        """Held by the engine for as long as any process of it lives; names its first one."""
        return self.folder.with_suffix(".lock")


class Child:
    """A running engine."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes]) -> None:
        self._place = place
        self._process = process

    @classmethod
    def start(
        cls, place: Place, lock: int, command: Sequence[str | Path], *, ended_by: signal.Signals
    ) -> "Child":
        """Start the engine; ``ended_by`` is what the kernel sends it should we die first.

        The kernel watches the thread that calls this, so call it from one that lasts.
        """
        log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            place.identity.give(place.log)
            if os.fstat(log).st_size > _LOG_KEPT_BYTES:
                os.ftruncate(log, 0)
            # A session of its own: Ctrl-C reaches us alone, and we stop engines in order.
            process = subprocess.Popen(  # noqa: S603 - programs of our own wheels
                _launch(place.identity, ended_by, command),
                cwd=place.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )
            os.pwrite(lock, f"{process.pid}\n".encode(), 0)
        finally:
            os.close(log)
        return cls(place, process)

    @property
    def pid(self) -> int:
        """The id of the engine's first process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its first process is alive."""
        return self._process.poll() is None

    async def ended(self) -> None:
        """Wait until its first process has ended."""
        while self.running:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self, *signals: signal.Signals, patience_seconds: float = 30) -> None:
        """Send the signals one after the other, each as the one before did not help in time."""
        for number in (*signals, signal.SIGKILL):
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self.ended()
                    return

    async def kill(self) -> None:
        """``kill -9`` its first process, and wait until what it forked has noticed and ended."""
        await self.stop()
        async with locked(self._place, signal.SIGKILL):
            pass

    def require_running(self) -> None:
        """Raise EngineError with the last of its log, where it has ended."""
        if not self.running:
            raise EngineError(
                f"Embedded {self._place.name} ended at once. The end of {self._place.log}:\n"
                f"{_log_end(self._place.log)}"
            )


@asynccontextmanager
async def locked(
    place: Place, ended_by: signal.Signals, *, patience_seconds: float = 60
) -> AsyncGenerator[int]:
    """Hold the engine's lock, once nothing of an earlier run is alive; yields its open file.

    An engine started within the block holds it on after the block.

    Raises: EngineError, where an earlier engine would not end.
    """
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        place.identity.give(place.lock)
        if not _try_lock(lock):
            # Linux told it to end when its parent died, unless it was made by hand; elsewhere
            # nobody did.
            with suppress(ProcessLookupError, ValueError):
                pid = int(os.pread(lock, 32, 0))
                if _has_open(pid, lock):
                    os.kill(pid, ended_by)
            async with asyncio.timeout(patience_seconds):
                while not _try_lock(lock):  # noqa: ASYNC110 - nor does a lock
                    await asyncio.sleep(_POLL_SECONDS)
        yield lock
    except TimeoutError:
        raise EngineError(
            f"An earlier embedded {place.name} still runs on {place.folder} and does not end. "
            f"Look at it (its process id is in {place.lock}), stop it, and start again."
        ) from None
    finally:
        os.close(lock)


async def run_once(
    place: Place, lock: int, command: Sequence[str | Path], *, stdin: bytes = b""
) -> None:
    """Run a program of an engine to its end, as its user.

    Raises: EngineError with its output, where it fails.
    """
    process = await asyncio.to_thread(
        subprocess.run,
        _launch(place.identity, None, command),
        cwd=place.folder.parent,
        env=_environment(),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock],
        start_new_session=True,
        check=False,
    )
    if process.returncode != 0:
        output = process.stdout.decode(errors="replace")
        raise EngineError(f"{Path(command[0]).name} failed for {place.folder}:\n{output}")


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_open(pid: int, file: int) -> bool:
    """Whether the process has our file open, so that a reused process id never ends a stranger."""
    if not Path("/proc/self/fd").is_dir():
        return True  # no way to tell here
    ours = os.fstat(file)
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if os.path.samestat(entry.stat(), ours):
                return True
    return False


def _log_end(log: Path, lines: int = 12) -> str:
    """Return the last lines of an engine's log."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def _launch(
    identity: Identity, ended_by: signal.Signals | None, command: Sequence[str | Path]
) -> list[str]:
    head = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid())]
    facts = [str(int(ended_by or 0)), str(identity.uid), str(identity.gid)]
    return [*head, *facts, *map(str, command)]


def _environment() -> dict[str, str]:
    # PG… variables of ours would change what PostgreSQL does; a library path must get through.
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LD_LIBRARY_PATH"}}
    return {"PATH": "/usr/bin:/bin", **kept, "LC_ALL": "C", "TZ": "UTC"}
