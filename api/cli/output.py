"""What commands say: results on stdout, everything else on stderr, errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum

import orjson

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Tell a person something that no script reads."""
    print(text, file=sys.stderr, flush=True)


def say_json(value: object) -> None:
    """Print a result for a script."""
    say(orjson.dumps(value, default=_plain, option=_OPTIONS).decode())


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their headings, in columns as wide as they must be."""
    texts = [[_cell(value) for value in row] for row in rows]
    table = [list(columns), *texts]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    for row in table:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def instant(at: datetime | None) -> str:
    """Return an instant as people read it, in UTC."""
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
