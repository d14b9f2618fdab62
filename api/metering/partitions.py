"""Monthly partitions of the usage events: made when first needed, dropped when they are too old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("partitions")


class Partitions:
    """The months for which usage events have a place."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[str] = set()
        self._last = (datetime.min.replace(tzinfo=UTC),) * 2

    async def ensure(self, instants: Iterable[datetime]) -> None:
        """Make the partitions that events at ``instants`` need.

        Cost: nothing when they are known to exist.
        """
        # Most often everything is of the month that was asked for last.
        since, until = self._last
        instants = [at for at in instants if not since <= at < until]
        if not instants:
            return
        months = {month_of(at) for at in instants}
        missing = {m for m in months if name_of(m) not in self._known}
        if not missing:
            latest = max(months)
            self._last = latest, _following(latest)
            return
        async with self._database.transaction() as conn:
            await conn.execute("set local lock_timeout = '5s'")
            await conn.execute(_sql.lock)
            rows = await conn.fetch(_sql.list_partitions)
            self._known = {row["name"] for row in rows}
            for month in sorted(missing):
                if name_of(month) not in self._known:
                    # A name and two dates that are made here: no outside text enters the statement.
                    await conn.execute(
                        f"create table {name_of(month)} partition of usage_events"
                        f" for values from ('{month.isoformat()}')"
                        f" to ('{_following(month).isoformat()}')"
                    )
        self._known.update(name_of(m) for m in missing)

    async def drop_before(self, instant: datetime) -> list[str]:
        """Drop whole months that ended at or before ``instant``; return their names."""
        rows = await self._database.fetch(_sql.list_partitions)
        oldest = name_of(month_of(instant))
        ended = [row["name"] for row in rows if row["name"] < oldest]
        for name in ended:
            await self._database.execute(f"drop table if exists {name}")
            self._known.discard(name)
            self._last = (datetime.min.replace(tzinfo=UTC),) * 2
        return ended


def month_of(at: datetime) -> datetime:
    """Return the first instant of the month, in UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def name_of(month: datetime) -> str:
    """Return the name of the month's partition; names sort as months do."""
    return f"usage_events_{month.year:04d}_{month.month:02d}"


def _following(month: datetime) -> datetime:
    return month_of(month + timedelta(days=32))
