"""Who the engines run as: PostgreSQL refuses to run as root, so root hands them to another user."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from api.infra.engines.errors import EngineError

_UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user that engines run as, and whether that takes a change of user."""

    uid: int
    gid: int
    name: str

    @classmethod
    def for_folder(cls, folder: Path) -> "Identity":
        """Choose the user for a data folder.

        An ordinary user runs engines as itself. Root runs them as the folder's owner, or, where
        that is root too, as an unprivileged user.
        """
        if os.geteuid() != 0:
            return _named(os.geteuid(), os.getegid())
        if folder.exists() and (owner := folder.stat()).st_uid != 0:
            return _named(owner.st_uid, owner.st_gid)
        try:
            entry = pwd.getpwnam(_UNPRIVILEGED)
        except KeyError:
            raise EngineError(
                f"PostgreSQL refuses to run as root, and there is no user '{_UNPRIVILEGED}' to "
                "run it as. Run Headroom as an ordinary user, or set DATABASE_URL and REDIS_URL."
            ) from None
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name)

    def first_barrier(self, path: Path) -> Path | None:
        """Return the first folder on the way to ``path`` that this user may not enter, if any."""
        for folder in reversed(path.resolve().parents):
            facts = folder.stat()
            if facts.st_uid == self.uid:
                searchable = facts.st_mode & stat.S_IXUSR
            elif facts.st_gid == self.gid:
                searchable = facts.st_mode & stat.S_IXGRP
            else:
                searchable = facts.st_mode & stat.S_IXOTH
            if not searchable and self.uid != 0:
                return folder
        return None

    def give(self, path: Path) -> None:
        """Make this user the owner of ``path``, where we are root and it is not already."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def _named(uid: int, gid: int) -> Identity:
    try:
        return Identity(uid, gid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        raise EngineError(
            f"User id {uid} has no entry in the password file, which PostgreSQL needs. "
            "Run Headroom as a named user, or set DATABASE_URL and REDIS_URL."
        ) from None
