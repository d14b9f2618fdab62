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
from api.billing.differences import Difference, Kind
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.errors import InvalidInput
from api.domain.event_order import TERMINAL

_IN_A_PAGE = 100
_IDS = ("id", "Subscription ID")


async def listed_in(
    path: Path, understood: Callable[[dict[str, Any]], Listed], beginning: str
) -> AsyncIterator[list[Listed]]:
    """Yield what a file lists, a hundred at a time; the ids of subscriptions have a ``beginning``.

    Raises: InvalidInput, with the line.
    """
    if path.suffix.lower() == ".csv":
        rows = _from_csv(path, beginning)
    else:
        rows = _from_json(path, understood, beginning)
    try:
        while page := list(islice(rows, _IN_A_PAGE)):
            yield page
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: {error}") from error


def _from_json(
    path: Path, understood: Callable[[dict[str, Any]], Listed], beginning: str
) -> Iterator[Listed]:
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
            _expect_id(obj.get("id"), beginning, f"{path}:{number}")
            yield understood(obj)


def _from_csv(path: Path, beginning: str) -> Iterator[Listed]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        column = next((name for name in _IDS if name in (table.fieldnames or ())), None)
        if column is None:
            raise InvalidInput(f"{path}: its first line names no column `id`.")
        status = "status" if "status" in (table.fieldnames or ()) else "Status"
        for row in table:
            _expect_id(row[column], beginning, f"{path}:{table.line_num}")
            yield Listed(row[column], (row.get(status) or "").strip().lower() or None)


def _expect_id(said: object, beginning: str, where: str) -> None:
    if not isinstance(said, str) or not said:
        raise InvalidInput(f"{where}: this names no subscription.")
    if not said.startswith(beginning):
        raise InvalidInput(f"{where}: {said[:100]!r} is no subscription's id ({beginning}…).")


def by_status(one: Listed, ours: SubscriptionRecord | None) -> Difference | None:
    """Compare what little an export says."""
    over = one.status in {status.value for status in TERMINAL}
    if ours is None:
        said = (("status", "", one.status or ""),)
        return None if over else Difference(Kind.MISSING, one.id, None, said)
    if one.status is None or one.status == ours.status.value:
        return None
    said = (("status", ours.status.value, one.status),)
    return Difference(Kind.CHANGED, one.id, ours.customer_id, said)
