"""A customer's statement of one month: what stood, what moved, and what stands at its end.

Months are the customer's own, in its time zone. By bucket, and so in sum:

    closing = opening + granted - spent + returned - held_net - expired - revoked + restored

where opening and closing are what is available, and ``held_net`` what holds set aside less what
they gave back or spent. The closing is the sum of all entries up to the month's end.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO

from api.domain.catalog import Bucket, WindowKind
from api.domain.errors import InvalidInput
from api.domain.windows import Frame, Window, window_at
from api.infra.postgres import Database, Record
from api.infra.queries import Queries

_sql = Queries.load("credits")

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_MID_MONTH = 15
_YEARS = range(1970, 9999)


@dataclass(frozen=True, slots=True)
class BucketLine:
    """One bucket through the month; ``spent`` is also what holds spent of what they had."""

    bucket: Bucket
    opening: int = 0
    granted: int = 0
    spent: int = 0
    returned: int = 0
    held_net: int = 0
    expired: int = 0
    revoked: int = 0
    restored: int = 0
    closing: int = 0
    opening_held: int = 0
    closing_held: int = 0

    @property
    def figures(self) -> dict[str, int]:
        """Its figures by their names, in order."""
        return {name: getattr(self, name) for name in _FIGURES}


@dataclass(frozen=True, slots=True)
class FeatureLine:
    """What one feature cost in the month: ``units`` that were paid for, and their credits."""

    feature: str | None
    units: int
    spent: int
    returned: int

    @property
    def credits(self) -> int:
        """What was spent and not returned; below zero where more came back than was spent."""
        return self.spent - self.returned


@dataclass(frozen=True, slots=True)
class Statement:
    """One month of one customer."""

    month: str
    zone: str
    starts_at: datetime
    ends_at: datetime
    buckets: tuple[BucketLine, ...]
    features: tuple[FeatureLine, ...]

    @property
    def total(self) -> dict[str, int]:
        """The sums over all buckets, by the names of the lines' figures."""
        return {name: sum(line.figures[name] for line in self.buckets) for name in _FIGURES}


_FIGURES = tuple(name for name in BucketLine.__dataclass_fields__ if name != "bucket")
COLUMNS = (
    "customer",
    "month",
    "starts_at",
    "ends_at",
    "line",
    "name",
    *_FIGURES,
    "units",
    "credits",
)
"""The columns of the CSV form; new ones are only ever added at the end."""


async def statement(database: Database, customer_id: int, zone: str, month: str) -> Statement:
    """Return the statement of a month, given as 2026-03, in the customer's zone.

    Raises: InvalidInput. Cost: two sums, the first over all the customer's entries up to its end.
    """
    window = month_window(month, zone)
    ends_at = window.ends_at or window.starts_at
    async with database.transaction(isolation="repeatable_read", readonly=True) as conn:
        span = (customer_id, window.starts_at, ends_at)
        buckets = {row["bucket"]: row for row in await conn.fetch(_sql.statement_buckets, *span)}
        features = await conn.fetch(_sql.statement_features, *span)
    return Statement(
        month=month,
        zone=zone,
        starts_at=window.starts_at,
        ends_at=ends_at,
        buckets=tuple(_line(bucket, buckets.get(bucket.value)) for bucket in Bucket),
        features=tuple(
            FeatureLine(row["feature"], row["units"], row["spent"], row["returned"])
            for row in features
        ),
    )


def month_window(month: str, zone: str) -> Window:
    """Return the month that ``month`` names, as 2026-03, by the calendar of ``zone``.

    Raises: InvalidInput.
    """
    found = _MONTH.fullmatch(month)
    if found is None or int(found[1]) not in _YEARS:
        raise InvalidInput(f"A month is given as 2026-03, not {month[:40]!r}.")
    middle = datetime(int(found[1]), int(found[2]), _MID_MONTH, tzinfo=UTC)
    return window_at(Frame(WindowKind.MONTH, zone=zone), middle)


def to_csv(customer: str, found: Statement) -> str:
    """Return a statement as CSV: a line for each bucket, for their total, and for each feature."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    said: dict[str, object] = {
        "customer": customer,
        "month": found.month,
        "starts_at": found.starts_at.isoformat(),
        "ends_at": found.ends_at.isoformat(),
    }
    for bucket in found.buckets:
        line = {"line": "bucket", "name": bucket.bucket.value}
        writer.writerow({**said, **line, **bucket.figures})
    writer.writerow({**said, "line": "total", "name": "", **found.total})
    for feature in found.features:
        line = {"line": "feature", "name": feature.feature or ""}
        money = {"spent": feature.spent, "returned": feature.returned, "credits": feature.credits}
        writer.writerow({**said, **line, "units": feature.units, **money})
    return out.getvalue()


def _line(bucket: Bucket, row: Record | None) -> BucketLine:
    if row is None:
        return BucketLine(bucket)
    return BucketLine(bucket, **{name: row[name] for name in _FIGURES})
