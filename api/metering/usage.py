"""What was used, read from the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.domain.windows import Window
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("usage")


class Usage:
    """Usage history; the journal's last moments are not in it yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def history(
        self, customer_id: int, feature_id: int, windows: Sequence[Window]
    ) -> list[int]:
        """Return the units used in each of ``windows``, in order; every window must end.

        Raises and costs as ``histories``.
        """
        return (await self.histories([(customer_id, feature_id, windows)]))[0]

    async def histories(
        self, asked: Sequence[tuple[int, int, Sequence[Window]]]
    ) -> list[list[int]]:
        """Return for each (customer, feature, windows) the units used in each of the windows.

        Raises: Unavailable. Cost: one statement, a range of the totals per window and at most two
        ranges of events, each within one hour.
        """
        flat = [(c, f, w.starts_at, w.ends_at or w.starts_at) for c, f, ws in asked for w in ws]
        rows = await self._database.fetch(
            _sql.history,
            list(range(len(flat))),
            [customer_id for customer_id, *_ in flat],
            [feature_id for _, feature_id, *_ in flat],
            [start for *_, start, _ in flat],
            [end for *_, end in flat],
            [ceil_hour(start) for *_, start, _ in flat],
            [floor_hour(end) for *_, end in flat],
        )
        units = iter(int(row["units"]) for row in rows)
        return [[next(units) for _ in windows] for _, _, windows in asked]

    async def between(
        self, customer_id: int, feature_id: int, start: datetime, end: datetime
    ) -> int:
        """Return the units used from ``start`` up to but not with ``end``."""
        return (await self.history(customer_id, feature_id, [Window(start, end)]))[0]


def floor_hour(at: datetime) -> datetime:
    """Return the last whole hour (UTC) at or before ``at``."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def ceil_hour(at: datetime) -> datetime:
    """Return the first whole hour (UTC) at or after ``at``."""
    floor = floor_hour(at)
    return floor if floor == at else floor + timedelta(hours=1)
