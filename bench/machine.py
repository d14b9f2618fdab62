"""Processes on their own cores, and what they cost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, OTHER_CORE = 0, 1
CONNECTIONS = 64
HEADROOM = ("-c", "from api.cli import main; main()")
_IDLE_SECONDS = 0.01
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Then:
    """What follows an answer: what ``pattern`` finds in it is sent to ``path``.

    ``%h`` and ``%w`` stand in ``template`` for the first and the second thing found.
    """

    pattern: str
    path: str
    template: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What is sent over and over: ``template`` to ``url``, about one of so many ``customers``.

    ``%d`` stands in ``template`` for a customer's number, ``%k`` for a name used once; ``items``
    are what one request asks. What is large goes over few connections, as a turn would else end
    in the middle of it.
    """

    url: str
    template: str
    customers: int
    headers: Sequence[str] = ()
    then: Then | None = None
    items: int = 1
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True)
class Round:
    """One loading of one server. CPU in seconds, latencies in µs.

    ``requests`` are what was asked: one answer holds as many of them as were sent together.
    """

    requests: int
    seconds: float
    errors: int
    p50: int
    p99: int
    cpu: float
    beside: Mapping[str, float]
    """CPU of the other processes, by what they are."""
    loader_cpu: float
    refused: int = 0
    """Answers of a status of 400 and more; they are among the errors."""
    answers: int = 0
    busy: tuple[float, ...] = ()
    """The share of the time in which each core did anything, for whomever."""

    @property
    def cpu_us(self) -> float:
        """Server CPU per request, µs."""
        return self.cpu * 1e6 / max(1, self.requests)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def beside_us(self, name: str) -> float:
        """CPU per request of another process, µs."""
        return self.beside[name] * 1e6 / max(1, self.requests)


def described() -> str:
    """Say on what this was measured."""
    system = os.uname()
    return (
        f"{os.cpu_count()} cores, {system.sysname} {system.release},"
        f" Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}"
    )


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """Return ``pid`` and all processes below it; one that ends meanwhile has none."""
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU that these processes and their ended children have used, user and system."""
    total = 0
    for pid in pids:
        # One that ended meanwhile is in its parent's figures.
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICK


def core_times() -> list[tuple[int, int]]:
    """Return of every core the ticks in which it was busy, and all ticks."""
    found = []
    for line in Path("/proc/stat").read_text().splitlines()[1:]:
        if not line.startswith("cpu"):
            break
        user, nice, system, idle, waiting, *rest = map(int, line.split()[1:9])
        busy = user + nice + system + sum(rest)
        found.append((busy, busy + idle + waiting))
    return found


def cpu_ns(pid: int) -> int:
    """Return the CPU that the threads of one process have used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def pin(pids: Iterable[int], core: int) -> None:
    """Keep these processes, with all their threads, on one core; one that has ended is let go."""
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})


@asynccontextmanager
async def server(
    words: Sequence[str],
    environment: dict[str, str],
    ready: str | None,
    core: int = SERVER_CORE,
    *,
    program: str = sys.executable,
) -> AsyncGenerator[int]:
    """Run a server until the block ends; ``ready`` is in the line by which it says so."""
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while ready is not None:
                line = (await process.stdout.readline()).decode()
                if ready in line:
                    break
                if not line:
                    raise RuntimeError(f"{words} ended before it was ready")
        drain = asyncio.create_task(_drain(process.stdout))
        pin(tree(process.pid), core)
        yield process.pid
        drain.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def quiet(pids: Sequence[int]) -> None:
    """Wait until these processes have ended what the loader left under way, or for 10 s."""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            used = cpu_seconds(pids)
            while True:
                await asyncio.sleep(0.1)
                before, used = used, cpu_seconds(pids)
                if used - before <= _IDLE_SECONDS:
                    return


async def load(
    ask: Ask,
    *,
    seconds: int,
    server_pid: int,
    beside: Mapping[str, int],
    settle: Callable[[], Awaitable[None]] | None = None,
) -> Round:
    """Ask a server from the other core for some seconds, and return what it cost.

    What is left to do afterwards is awaited by ``settle``, and is in the CPU of the processes
    beside, not in the server's.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    then, pids = ask.then, tree(server_pid)
    before = cpu_seconds(pids)
    beside_before = {name: cpu_seconds(tree(pid)) for name, pid in beside.items()}
    loader_before = os.times()
    cores_before = core_times()
    process = await asyncio.create_subprocess_exec(
        "taskset",
        "-c",
        str(OTHER_CORE),
        wrk,
        "-t1",
        f"-c{ask.connections}",
        f"-d{seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(Path(__file__).parent / "load.lua"),
        ask.url,
        "--",
        ask.template,
        str(ask.customers),
        *(("", "", "") if then is None else (then.pattern, then.template, then.path)),
        *ask.headers,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    cpu = cpu_seconds(pids) - before
    loader = os.times()
    pairs = zip(cores_before, core_times(), strict=True)
    busy = tuple((b1 - b0) / max(1, all1 - all0) for (b0, all0), (b1, all1) in pairs)
    await quiet(pids)
    if settle is not None:
        await settle()
    spent = {name: cpu_seconds(tree(pid)) - beside_before[name] for name, pid in beside.items()}
    result = next(x for x in output.decode().splitlines() if x.startswith("RESULT"))
    answers, duration, errors, p50, p99, _, refused = map(int, result.split()[1:])
    loader_cpu = loader.children_user + loader.children_system
    loader_cpu -= loader_before.children_user + loader_before.children_system
    return Round(
        requests=answers * ask.items,
        seconds=duration / 1e6,
        errors=errors,
        p50=p50,
        p99=p99,
        cpu=cpu,
        beside=spent,
        loader_cpu=loader_cpu,
        refused=refused,
        answers=answers,
        busy=busy,
    )
