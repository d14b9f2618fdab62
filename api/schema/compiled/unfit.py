"""Two ways of saying: this runs on the general executor."""

from __future__ import annotations


class Unsupported(Exception):
    """The compiler does not know this; told while an operation is compiled, once for all."""


class Unfit(Exception):
    """These variables do not fit; nothing was executed, and the general executor says why."""
