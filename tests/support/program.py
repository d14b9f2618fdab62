"""The program as a user starts it: ``headroom …`` in processes of its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from shutil import rmtree
from typing import IO, Any
from unittest.mock import patch
from urllib.parse import urlsplit

from api.cli import main
from tests.support.processes import below

HEADROOM = Path(sys.executable).with_name("headroom")
CATALOG = Path("examples/bookkeeper.toml").absolute()
READY = "Headroom ready on "


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.out)


@dataclass
class Server:
    """One ``headroom serve``, asked over HTTP."""

    process: "subprocess.Popen[str]"
    data_dir: Path
    address: str
    errors: Path

    def post(self, path: str, said: object, key: str) -> tuple[int, dict[str, Any]]:
        return self._ask("POST", path, json.dumps(said), key)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return self._ask("GET", path, None, "")

    def key(self, scope: str) -> str:
        made = run("keys", "create", "test", "--scope", scope, data_dir=self.data_dir)
        assert made.status == 0, made.err
        return made.out.strip()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def pids(self) -> list[int]:
        """Every process of it, the first one included."""
        return [self.process.pid, *below(self.process.pid)]

    def _ask(
        self, method: str, path: str, body: str | None, key: str
    ) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(self.address)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        lines = {"Content-Type": "application/json"}
        if key:
            lines["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, path, body, lines)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def run(*arguments: str | Path, data_dir: Path | None = None, **settings: str) -> Ran:
    """Run one command to its end."""
    if data_dir is not None:
        settings["HEADROOM_DATA_DIR"] = str(data_dir)
    done = subprocess.run(  # noqa: S603 - our own program
        [HEADROOM, *map(str, arguments)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run_here(*arguments: str | Path, data_dir: Path, **settings: str) -> Ran:
    """Run one command inside this process: for many of them, as loading takes longest."""
    settings["HEADROOM_DATA_DIR"] = str(data_dir)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out, err = StringIO(), StringIO()
    try:
        with (
            patch.dict(os.environ, environment(**settings), clear=True),
            patch.object(sys, "argv", ["headroom", *map(str, arguments)]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return Ran(status, out.getvalue(), err.getvalue())


@contextmanager
def folder() -> Iterator[Path]:
    """Give a data folder that the engines' user can reach, where we are root."""
    path = Path(tempfile.mkdtemp(prefix="headroom-test-"))
    path.chmod(0o711)
    try:
        yield path / "data"
    finally:
        rmtree(path, ignore_errors=True)


@contextmanager
def serving(data_dir: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Run a server on a free port for the length of the block."""
    errors = data_dir.with_name("stderr.txt")
    with errors.open("a") as written:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [HEADROOM, "serve", "--port", "0", "--data-dir", data_dir, *options],
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        )
    server = Server(process, data_dir, "", errors)
    try:
        assert process.stdout is not None
        server.address = _ready(process.stdout, errors)
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        if process.stdout is not None:
            process.stdout.close()


def gone(pids: list[int]) -> bool:
    """Tell whether none of these processes lives, whoever is to bury them."""
    return not any(_lives(pid) for pid in pids)


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 60
    while not gone(pids):
        assert time.monotonic() < deadline, f"still alive: {[p for p in pids if _lives(p)]}"
        time.sleep(0.01)


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without settings of Headroom, and with these."""
    ours = ("HEADROOM_", "STRIPE_", "DATABASE_", "REDIS_", "DUNNING_", "BILLING_", "PROMETHEUS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | settings


def _ready(out: IO[str], errors: Path) -> str:
    line = out.readline()
    assert line.startswith(READY), errors.read_text()
    return line.removeprefix(READY).strip()


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
