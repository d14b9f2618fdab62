"""Who is at the command line, and why they do what they do."""

from __future__ import annotations

import getpass
import os


def actor_name() -> str:
    """Return how the audit log calls the user of this machine."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())  # a user without an entry, as in a container
    return f"cli:{name}"
