"""A real PgBouncer in transaction mode before a PostgreSQL of the tests, on a unix socket."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from api.infra.engines import launch
from api.infra.engines.identity import Identity
from api.infra.postgres import Database

FOLLOWS_STATEMENTS = (1, 21)
_USER = "headroom"
_INI = """\
[databases]
* = host={host} user={user} auth_user={user}

[pgbouncer]
pool_mode = transaction
listen_addr =
listen_port = 5432
unix_socket_dir = {folder}
unix_socket_mode = 0777
auth_type = any
default_pool_size = {pool_size}
max_client_conn = 1000
server_idle_timeout = 2
query_wait_timeout = 20
{more}
"""


def program() -> str:
    """Return where PgBouncer is; ``make test-system`` installs it."""
    found = shutil.which(
        "pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    assert found, "PgBouncer is not installed; 'make test-system' does that."
    return found


def version() -> tuple[int, int]:
    """Return the version of the installed PgBouncer."""
    said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said.stdout)
    assert found is not None, said.stdout
    return int(found[1]), int(found[2])


class PgBouncer:
    """One PgBouncer, to be killed and started again."""

    def __init__(self, folder: Path, host: str, identity: Identity, configuration: Path) -> None:
        self.folder = folder
        self._host = host
        self._identity = identity
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None

    def stands_before(self, database_url: str) -> bool:
        """Tell whether that address is of the server behind this, and asks nothing of a session."""
        return parse_qs(urlsplit(database_url).query) == {"host": [self._host]}

    def url(self, database_url: str) -> str:
        """Return the address of the same database through this."""
        parts = urlsplit(database_url)
        host = quote(str(self.folder), safe="/")
        return f"postgresql://{_USER}@{parts.path}?host={host}"

    async def start(self) -> None:
        command = [program(), "-q", str(self._configuration)]
        identity = self._identity
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - quick, the system's own
                [
                    sys.executable,
                    str(Path(launch.__file__)),
                    *map(str, (os.getpid(), int(signal.SIGKILL), identity.uid, identity.gid)),
                    *command,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        socket = self.folder / ".s.PGSQL.5432"
        async with asyncio.timeout(30):
            while not socket.exists():
                assert self._process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """``kill -9``; its clients and servers lose their connections."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        (self.folder / ".s.PGSQL.5432").unlink(missing_ok=True)

    async def restart(self) -> None:
        await self.kill()
        await self.start()


@asynccontextmanager
async def pgbouncer_before(
    database_url: str, *, pool_size: int = 5, follows_statements: bool = False
) -> AsyncGenerator[PgBouncer]:
    """Run one before every database of that server, for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="headroom-pgbouncer-"))
    identity = Identity.for_folder(folder)
    identity.give(folder)
    folder.chmod(0o755)
    (host,) = parse_qs(urlsplit(database_url).query)["host"]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _INI.format(
            host=host,
            user=_USER,
            folder=folder,
            pool_size=pool_size,
            more="max_prepared_statements = 200" if follows_statements else "",
        )
    )
    configuration.chmod(0o644)
    bouncer = PgBouncer(folder, host, identity, configuration)
    try:
        await bouncer.start()
        yield bouncer
    finally:
        await bouncer.kill()
        shutil.rmtree(folder)


@contextmanager
def every_pool_through(bouncer: PgBouncer) -> Iterator[None]:
    """Lead every pool that this process opens through it, as DATABASE_URL would in production.

    What is opened for itself, past any pooler, stays as it is.
    """
    plainly: Callable[..., Any] = Database.open.__func__  # type: ignore[attr-defined]

    async def open_pooled(cls: type[Database], dsn: str, /, **options: Any) -> Database:
        if options.get("direct_dsn") is None and bouncer.stands_before(dsn):
            options["direct_dsn"] = dsn
            dsn = bouncer.url(dsn)
        opened: Database = await plainly(cls, dsn, **options)
        return opened

    before = Database.__dict__["open"]
    type.__setattr__(Database, "open", classmethod(open_pooled))
    try:
        yield
    finally:
        type.__setattr__(Database, "open", before)
