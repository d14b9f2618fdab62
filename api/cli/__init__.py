"""The command line: ``headroom``."""

from api.cli.program import main

__all__ = ["main"]
