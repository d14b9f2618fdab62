"""``headroom serve`` as real processes: started, stopped, killed, and started again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import runs
from tests.support.program import (
    CATALOG,
    READY,
    Server,
    folder,
    gone,
    run,
    serving,
    wait_until_gone,
)

ONE = {"customer": "acme", "feature": "companies"}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with folder() as path:
        yield path


def _prepared(server: Server) -> str:
    assert run("customers", "create", "acme", data_dir=server.data_dir).status == 0
    return server.key("consume")


def _named(server: Server, module: str) -> list[int]:
    return [pid for pid in server.pids() if runs(pid, module)]


def test_a_server_says_when_it_answers_and_stops_whole_when_told(data_dir: Path) -> None:
    with serving(data_dir, "--catalog", str(CATALOG)) as server:
        assert server.get("/readyz")[0] == 200
        status, said = server.post("/v1/consume", ONE, _prepared(server))
        assert (status, said["windows"][0]["used"]) == (200, 1)
        pids = server.pids()
        assert len(pids) > 4
        assert server.stop(signal.SIGTERM) == 0
        assert gone(pids)
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_ctrl_c_stops_it_as_well_and_the_next_start_knows_everything(data_dir: Path) -> None:
    with serving(data_dir, "--catalog", str(CATALOG)) as server:
        key = _prepared(server)
        assert server.post("/v1/consume", ONE, key)[0] == 200
        assert server.stop(signal.SIGINT) == 0
    with serving(data_dir) as server:
        status, said = server.post("/v1/consume", ONE, key)
        assert (status, said["code"]) == (402, "ALLOCATION_EXCEEDED")


def test_after_kill_9_of_every_process_nothing_is_lost_and_nothing_needs_cleaning(
    data_dir: Path,
) -> None:
    with serving(data_dir, "--catalog", str(CATALOG)) as server:
        key = _prepared(server)
        port = server.address.rpartition(":")[2]
        assert server.post("/v1/consume", ONE, key)[0] == 200
        pids = server.pids()
        for pid in pids:
            with suppress(ProcessLookupError):  # some end with the one before
                os.kill(pid, signal.SIGKILL)
        server.process.wait(timeout=60)
        wait_until_gone(pids)
    with serving(data_dir, "--port", port) as server:
        status, said = server.post("/v1/consume", ONE, key)
        assert (status, said["code"]) == (402, "ALLOCATION_EXCEEDED")


def test_no_process_outlives_a_killed_parent(data_dir: Path) -> None:
    with serving(data_dir, "--catalog", str(CATALOG), "--workers", "2") as server:
        pids = server.pids()
        assert len(_named(server, "api.app")) == 2
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(timeout=60)
        wait_until_gone(pids)


@pytest.mark.parametrize("module", ["api.app", "api.worker"])
def test_a_process_that_dies_is_started_again(data_dir: Path, module: str) -> None:
    with serving(data_dir, "--catalog", str(CATALOG)) as server:
        (pid,) = _named(server, module)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not (again := [p for p in _named(server, module) if p != pid]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert again
        # The socket outlived its process: a caller waits for the next one.
        assert server.get("/healthz") == (200, {"status": "ok"})


def test_a_port_in_use_is_told_in_one_line_before_anything_is_begun(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run("serve", "--port", port, data_dir=data_dir)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        f"headroom: Port {port} of 127.0.0.1 is in use. Stop what listens there, or choose "
        "another with --port.\n"
    )
    assert not data_dir.exists()


def test_a_second_server_on_one_data_folder_is_refused(data_dir: Path) -> None:
    with serving(data_dir, "--catalog", str(CATALOG)) as server:
        ran = run("serve", "--port", "0", data_dir=data_dir)
        assert ran.status == 1
        assert f"in use by a running Headroom (process {server.process.pid})" in ran.err
        assert ran.err.count("\n") == 1
        assert server.get("/readyz")[0] == 200


def test_a_bad_catalog_is_refused_whole_before_anything_is_begun(
    data_dir: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('product = "x"\ncolour = "red"\n')
    ran = run("serve", "--port", "0", "--catalog", bad, data_dir=data_dir)
    assert (ran.status, ran.out) == (1, "")
    assert f"{bad}:2:" in ran.err
    assert not data_dir.exists()


def test_for_development_every_line_to_try_works_when_pasted(data_dir: Path) -> None:
    with serving(data_dir, "--dev", "--catalog", str(CATALOG)) as server:
        assert server.process.stdout is not None
        told: list[str] = []
        while "Ctrl-C" not in (line := server.process.stdout.readline()):
            told.append(line.strip())
        curls = [line for line in told if line.startswith("curl ")]
        assert len(curls) == 3
        for line in curls:
            done = subprocess.run(  # noqa: S603 - a line that we print ourselves
                ["/bin/sh", "-c", f"{line} --silent --fail"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            assert "tx_analyze" in done.stdout or "windows" in done.stdout
        assert not any(line.startswith(READY) for line in told)
