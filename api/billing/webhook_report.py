"""What came of deliveries within a window: the share that succeeded, failures by type, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from api.domain.errors import InvalidInput
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("catch_up")

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class TypeOutcome:
    """How many events of one type stand in one state."""

    type: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class TypeFailure:
    """How many events of one type are hindered by one problem."""

    type: str
    problem: str
    count: int


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many deliveries were refused for one reason."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day; ``gap``: nothing was delivered. ``missed`` came from the provider's list."""

    day: date
    delivered: int
    missed: int

    @property
    def gap(self) -> bool:
        """Whether nothing was delivered."""
        return self.delivered == 0


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """One window's figures.

    ``success_rate`` is the share of settled events that were applied or had nothing to follow;
    failed ones count as not; None where none is settled.
    """

    since: datetime
    until: datetime
    last_event_at: datetime | None
    received: int
    missed: int
    refused: int
    success_rate: float | None
    by_type: tuple[TypeOutcome, ...]
    failures: tuple[TypeFailure, ...]
    refusals: tuple[Refusals, ...]
    days: tuple[Day, ...]


async def webhook_report(
    database: Database, provider: str, *, minutes: int, at: datetime
) -> WebhookReport:
    """Return the figures of the last ``minutes``. Raises: InvalidInput, Unavailable.

    Cost: five statements over the events of the window.
    """
    if not 1 <= minutes <= LONGEST // timedelta(minutes=1):
        raise InvalidInput("A window is of 1 minute to 366 days, in minutes.")
    since = at - timedelta(minutes=minutes)
    outcomes = await database.fetch(_sql.outcomes, provider, since, at)
    failures = await database.fetch(_sql.problems, provider, since, at)
    refusals = await database.fetch(_sql.refusals, since, at)
    days = await database.fetch(_sql.days, provider, since, at)
    last = await database.fetchval(_sql.last_arrival, provider)
    by_type: dict[tuple[str, str], int] = {}
    for row in outcomes:
        key = (row["type"], row["state"])
        by_type[key] = by_type.get(key, 0) + row["count"]
    good = sum(n for (_, state), n in by_type.items() if state in ("applied", "ignored"))
    settled = sum(n for (_, state), n in by_type.items() if state != "pending")
    return WebhookReport(
        since=since,
        until=at,
        last_event_at=None if last is None else last.astimezone(UTC),
        received=sum(by_type.values()),
        missed=sum(row["count"] for row in outcomes if row["origin"] == "listed"),
        refused=sum(row["count"] for row in refusals),
        success_rate=good / settled if settled else None,
        by_type=tuple(TypeOutcome(*key, count) for key, count in sorted(by_type.items())),
        failures=tuple(
            TypeFailure(row["type"], row["problem"] or "unknown", row["count"]) for row in failures
        ),
        refusals=tuple(Refusals(row["reason"], row["count"]) for row in refusals),
        days=tuple(Day(row["day"], row["delivered"], row["listed"]) for row in days),
    )
