"""Become an engine that ends with the process that wanted it.

Run by path, before anything of Headroom is imported:
``launch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…``. The order matters: a change of user forgets
the parent-death signal, and a parent that died before it was set would never be noticed.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop to the user, tie our life to the parent's, and turn into the program."""
    parent, signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    libc = ctypes.CDLL(None, use_errno=True)
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux" and libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that wanted this engine is gone")
    os.umask(0o077)
    os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606 - our own program, no shell


if __name__ == "__main__":
    main()
