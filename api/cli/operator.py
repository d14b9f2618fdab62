"""Who is at the command line, and why they do what they do."""

from __future__ import annotations

import getpass
import os
from dataclasses import replace

from api.gates.principal import LOCAL, Principal


def actor_name() -> str:
    """Return how the audit log calls the user of this machine."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())  # a user without an entry, as in a container
    return f"{LOCAL.kind}:{name}"


def principal(actor: str | None) -> Principal:
    """Return who acts: named so by ``actor``, or the user of this machine."""
    return replace(LOCAL, name=(actor or actor_name()).removeprefix(f"{LOCAL.kind}:"))
