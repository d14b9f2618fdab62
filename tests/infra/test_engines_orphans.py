"""What an earlier run may leave alive or lying about, and how the next start gets past it."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.domain.errors import Unavailable
from api.infra.engines.data_dir import read_runtime
from api.infra.engines.embedded import EmbeddedEngines
from api.infra.postgres import connect

_HOST = """
import asyncio, sys
from pathlib import Path
from api.infra.engines.embedded import EmbeddedEngines

async def main():
    async with EmbeddedEngines.start(Path(sys.argv[1])) as engines:
        print(engines.redis_pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not under tmp_path, which root closes to the user that engines run as.
    folder = Path(tempfile.mkdtemp(prefix="headroom-test-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder)


async def _answers(database_url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with connect(database_url) as conn:
                    await conn.execute("create table if not exists kept (n int)")
                    return
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_postgresql_that_outlived_its_server_is_ended_before_the_next_starts(
    data_dir: Path,
) -> None:
    async with EmbeddedEngines.start(data_dir) as engines:
        url = engines.database_url
        facts = Path(f"/proc/{engines.database_pid}")
        command = (facts / "cmdline").read_bytes().split(b"\0")[:-1]
        owner = facts.stat()
    with (data_dir / "postgresql.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Started by hand, so that the kernel ends it with nobody.
        orphan = subprocess.Popen(  # noqa: ASYNC220, S603 - an engine of ours
            command,
            pass_fds=[lock.fileno()],
            cwd=data_dir,
            stderr=subprocess.DEVNULL,
            user=owner.st_uid if os.geteuid() == 0 else None,
            group=owner.st_gid if os.geteuid() == 0 else None,
        )
        lock.truncate()
        lock.write(f"{orphan.pid}\n")
    try:
        await _answers(url)
        async with EmbeddedEngines.start(data_dir) as engines:
            assert orphan.poll() == 0
            assert engines.database_pid != orphan.pid
            await _answers(engines.database_url)
    finally:
        orphan.kill()
        orphan.wait()


async def test_a_lock_that_names_a_stranger_does_not_end_the_stranger(data_dir: Path) -> None:
    async with EmbeddedEngines.start(data_dir):
        pass
    read, write = os.pipe()
    with (data_dir / "valkey.lock").open("r+") as lock:
        # A backend that has yet to notice: it holds the lock, and is not the process named there.
        fcntl.flock(lock, fcntl.LOCK_EX)
        last = subprocess.Popen(["/bin/sleep", "0.5"], pass_fds=[lock.fileno()])  # noqa: ASYNC220
        stranger = subprocess.Popen(["/bin/cat"], stdin=read)  # noqa: ASYNC220
        lock.truncate()
        lock.write(f"{stranger.pid}\n")
    try:
        async with EmbeddedEngines.start(data_dir) as engines:
            assert last.poll() == 0
            assert engines.redis_pid != stranger.pid
        assert stranger.poll() is None
    finally:
        os.close(write)
        os.close(read)
        stranger.wait()
        last.wait()


async def test_half_a_note_about_an_earlier_run_is_as_good_as_none(data_dir: Path) -> None:
    async with EmbeddedEngines.start(data_dir):
        pass
    for note in (b"", b'{"pid": 1, "sock'):
        (data_dir / "runtime.json").write_bytes(note)
        assert read_runtime(data_dir) is None
        async with EmbeddedEngines.start(data_dir) as engines:
            await _answers(engines.database_url)


async def test_short_socket_folders_of_killed_servers_do_not_pile_up(data_dir: Path) -> None:
    deep = data_dir / ("long" * 25)
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOST, str(deep), stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    assert (await host.stdout.readline()).strip().isdigit()
    runtime = read_runtime(deep)
    assert runtime is not None
    left = Path(runtime.sockets)
    host.send_signal(signal.SIGKILL)
    await host.communicate()
    assert left.is_dir()
    async with EmbeddedEngines.start(deep):
        assert not left.exists()
