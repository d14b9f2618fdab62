"""Lists of subscriptions in files that somebody exported from the provider.

JSON lines hold whole objects; a CSV, as the dashboard writes it, says an id and a status, and the
rest is found out when the object is read.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from api.billing.account import Listed
from api.domain.errors import InvalidInput

_IN_A_PAGE = 100
_IDS = ("id", "Subscription ID")


async def listed_in(
    path: Path, understood: Callable[[dict[str, Any]], Listed]
) -> AsyncIterator[list[Listed]]:
    """Yield what a file lists, a hundred at a time. Raises: InvalidInput, with the line."""
    rows = _from_csv(path) if path.suffix == ".csv" else _from_json(path, understood)
    try:
        while page := list(islice(rows, _IN_A_PAGE)):
            yield page
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _from_json(path: Path, understood: Callable[[dict[str, Any]], Listed]) -> Iterator[Listed]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                obj = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InvalidInput(f"{path}:{number}: {error}") from error
            if not isinstance(obj, dict) or obj.get("object") != "subscription":
                raise InvalidInput(f"{path}:{number}: this is no subscription's object.")
            yield understood(obj)


def _from_csv(path: Path) -> Iterator[Listed]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        column = next((name for name in _IDS if name in (table.fieldnames or ())), None)
        if column is None:
            raise InvalidInput(f"{path}: its first line names no column `id`.")
        status = "status" if "status" in (table.fieldnames or ()) else "Status"
        for row in table:
            yield Listed(row[column], (row.get(status) or "").strip().lower() or None)
