"""The folder with everything embedded engines keep, and the lock that makes it one server's.

::

    lock        held by the running server for life; a second one is refused
    runtime.json  who serves this folder and where the engines listen, while it runs
    postgresql/ .log .lock
    valkey/     .log .lock
    run/        the sockets, 0700; elsewhere where this path is too long for one, or too odd
    programs/   a copy of the engines, only where their user cannot reach the installed ones
"""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

import msgspec

from api.infra.engines.child import Place
from api.infra.engines.errors import EngineError
from api.infra.engines.identity import Identity

# struct sockaddr_un holds 108 bytes, one of them the end.
_SOCKET_DIR_BYTES = 108 - 1 - len("/.s.PGSQL.5432")
_PLAIN = re.compile(r"[\w./-]+")  # commas, colons and quotes mean something in a list of hosts
_REMEDY = (
    "Choose another folder with --data-dir or HEADROOM_DATA_DIR, "
    "or set DATABASE_URL and REDIS_URL to use engines of your own."
)


class Runtime(msgspec.Struct, frozen=True):
    """What a running server tells others about itself; the URLs are there once it is ready."""

    pid: int
    sockets: str
    database_url: str | None = None
    redis_url: str | None = None


class DataDir:
    """One prepared data folder, held by this process."""

    def __init__(self, path: Path, identity: Identity, sockets: Path) -> None:
        self.path = path
        self.identity = identity
        self.sockets = sockets

    @classmethod
    @contextmanager
    def hold(cls, path: Path) -> Iterator[Self]:
        """Prepare the folder and hold it for the length of the block.

        Raises: EngineError, saying what to do, where it cannot be made, reached or held.
        """
        path = path.expanduser().absolute()
        identity = _prepare(path)
        with _held(path / "lock", path):
            _give_to_owner(path / "lock", path)
            _forget_sockets(path)
            held = cls(path, identity, _sockets(path, identity))
            held.announce(None, None)
            try:
                yield held
            finally:
                _forget_sockets(path)
                (path / "runtime.json").unlink(missing_ok=True)

    @property
    def programs(self) -> Path:
        """Where a copy of the engines' programs goes."""
        return self.path / "programs"

    def place(self, name: str) -> Place:
        """Return where the engine of that name lives."""
        return Place(name, self.path / name.lower(), self.sockets, self.identity)

    def announce(self, database_url: str | None, redis_url: str | None) -> None:
        """Write ``runtime.json`` in one step, so that a reader never sees half of it."""
        facts = Runtime(os.getpid(), str(self.sockets), database_url, redis_url)
        fresh = self.path / "runtime.json.new"
        fresh.write_bytes(msgspec.json.encode(facts) + b"\n")
        fresh.chmod(0o600)
        _give_to_owner(fresh, self.path)
        fresh.rename(self.path / "runtime.json")


def default_data_dir(env: Mapping[str, str]) -> Path:
    """Return the data folder: ``HEADROOM_DATA_DIR``, or the customary place for this user."""
    if chosen := env.get("HEADROOM_DATA_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/headroom")
    share = env.get("XDG_DATA_HOME")
    return (Path(share) if share else Path.home() / ".local" / "share") / "headroom"


def read_runtime(path: Path) -> Runtime | None:
    """Return what the server now running on this folder says, or None where none does.

    Raises: EngineError, where the folder belongs to somebody else.
    """
    path = path.expanduser().absolute()
    try:
        runtime = msgspec.json.decode((path / "runtime.json").read_bytes(), type=Runtime)
        with (path / "lock").open("rb") as lock:
            if not _try_lock(lock, fcntl.LOCK_SH, tries=1):
                return runtime
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None  # undecodable is what a machine that lost power may leave
    except PermissionError:
        raise EngineError(
            f"The data folder {path} belongs to another user. Run this as that user. {_REMEDY}"
        ) from None
    return None  # nobody held the lock: what was written is from a server that is gone


def _prepare(path: Path) -> Identity:
    identity = Identity.for_folder(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0 and path.stat().st_uid == 0:
            path.chmod(0o711)  # to be passed through by the engines' user; its contents are closed
        barrier = identity.first_barrier(path / "postgresql")
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise EngineError(
            f"The data folder {path} cannot be made: {error.strerror}. {_REMEDY}"
        ) from None
    if not writable:
        raise EngineError(f"The data folder {path} is not this user's to write to. {_REMEDY}")
    if barrier is not None:
        raise EngineError(
            f"The data folder {path} cannot be reached by the user '{identity.name}', who runs "
            f"PostgreSQL because it refuses to run as root: {barrier} is closed to it. "
            f"Open it (chmod o+x {barrier}), run as an ordinary user, or: {_REMEDY}"
        )
    return identity


@contextmanager
def _held(lock: Path, path: Path) -> Iterator[None]:
    with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:
        # Those who only look whether a server runs hold the lock too, for an instant.
        if not _try_lock(file, fcntl.LOCK_EX, tries=10):
            runtime = read_runtime(path)
            by = f" (process {runtime.pid})" if runtime else ""
            raise EngineError(
                f"The data folder {path} is in use by a running Headroom{by}. Stop that one, or "
                "choose another folder with --data-dir or HEADROOM_DATA_DIR."
            )
        yield


def _try_lock(file: IO[bytes], kind: int, *, tries: int) -> bool:
    for _ in range(tries):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _give_to_owner(file: Path, folder: Path) -> None:
    # Root may run once on an ordinary user's folder; the user must be able to go on.
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _sockets(path: Path, identity: Identity) -> Path:
    sockets = path / "run"
    if len(os.fsencode(sockets)) > _SOCKET_DIR_BYTES or not _PLAIN.fullmatch(str(sockets)):
        bases = [Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp"), Path("/tmp")]  # noqa: S108 - mkdtemp
        open_bases = (b for b in bases if b.is_dir() and not identity.first_barrier(b / "headroom"))
        base = next(open_bases, None)
        if base is None:
            raise EngineError(
                f"The data folder {path} is too long or too odd a name for sockets, "
                f"and the user '{identity.name}' has no other folder for them. {_REMEDY}"
            )
        sockets = Path(tempfile.mkdtemp(prefix="headroom-", dir=base))
    sockets.mkdir(mode=0o700, exist_ok=True)
    sockets.chmod(0o700)
    identity.give(sockets)
    return sockets


def _forget_sockets(path: Path) -> None:
    # Sockets of a killed run: harmless where they are in the folder, litter where they are not.
    try:
        runtime = msgspec.json.decode((path / "runtime.json").read_bytes(), type=Runtime)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if Path(runtime.sockets).parent != path and Path(runtime.sockets).name.startswith("headroom-"):
        shutil.rmtree(runtime.sockets, ignore_errors=True)
