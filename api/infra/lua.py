"""Lua scripts, each a file beside its one caller."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known to the server by the digest of its text."""

    name: str
    text: str
    sha: str

    @classmethod
    def load(cls, beside: str, name: str) -> Script:
        """Read ``name.lua`` from the folder of the module file ``beside``."""
        text = (Path(beside).parent / f"{name}.lua").read_text(encoding="utf-8")
        return cls(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())
