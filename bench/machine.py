"""Processes on their own cores, and what they cost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, OTHER_CORE = 0, 1
CONNECTIONS = 64
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
class Round:
    """One loading of one server. CPU in seconds, latencies in µs."""

    requests: int
    seconds: float
    errors: int
    p50: int
    p99: int
    cpu: float
    beside: Mapping[str, float]
    """CPU of the other processes, by what they are."""
    loader_cpu: float

    @property
    def cpu_us(self) -> float:
        """Server CPU per request, µs."""
        return self.cpu * 1e6 / max(1, self.requests)


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


def cpu_ns(pid: int) -> int:
    """Return the CPU that the threads of one process have used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def pin(pids: Iterable[int], core: int) -> None:
    """Keep these processes, with all their threads, on one core."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


@asynccontextmanager
async def server(
    words: Sequence[str], environment: dict[str, str], ready: str | None, core: int = SERVER_CORE
) -> AsyncGenerator[int]:
    """Run a server until the block ends; ``ready`` is in the line by which it says so."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
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


async def load(
    url: str,
    template: str,
    *,
    customers: int,
    headers: Sequence[str],
    seconds: int,
    server_pid: int,
    beside: Mapping[str, int],
    then: Then | None = None,
) -> Round:
    """Load ``url`` from the other core and return what it cost.

    ``%d`` stands in ``template`` for a customer's number, ``%k`` for a name used once.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    pids = tree(server_pid)
    before = cpu_seconds(pids)
    beside_before = {name: cpu_seconds(tree(pid)) for name, pid in beside.items()}
    loader_before = os.times()
    process = await asyncio.create_subprocess_exec(
        "taskset",
        "-c",
        str(OTHER_CORE),
        wrk,
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--timeout",
        "20s",
        "-s",
        str(Path(__file__).parent / "load.lua"),
        url,
        "--",
        template,
        str(customers),
        *(("", "", "") if then is None else (then.pattern, then.template, then.path)),
        *headers,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    cpu = cpu_seconds(pids) - before
    spent = {name: cpu_seconds(tree(pid)) - beside_before[name] for name, pid in beside.items()}
    loader = os.times()
    result = next(x for x in output.decode().splitlines() if x.startswith("RESULT"))
    requests, duration, errors, p50, p99, _ = map(int, result.split()[1:])
    loader_cpu = loader.children_user + loader.children_system
    loader_cpu -= loader_before.children_user + loader_before.children_system
    return Round(requests, duration / 1e6, errors, p50, p99, cpu, spent, loader_cpu)
