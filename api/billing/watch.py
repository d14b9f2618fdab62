"""What is looked after between events: silence, bursts of refused deliveries, a newer catalog.

Each of these raises an alert once for its window, whoever of several processes looks first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from api.catalog.alerts import Severity, alert, window_of
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.infra.telemetry import gauge

_sql = Queries.load("catch_up")
log = logging.getLogger(__name__)

BURST_WINDOW = timedelta(minutes=15)
MOST_ADDRESSES = 20

_last_event = gauge(
    "billing_webhook_last_arrival_seconds", "Unix time at which an event was last delivered."
)


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """From ``opens`` to ``closes`` of working days in ``zone``; Monday is 0."""

    zone: str = "UTC"
    opens: time = time(9)
    closes: time = time(17)
    days: frozenset[int] = frozenset(range(5))

    def open_since(self, at: datetime) -> datetime | None:
        """Return when the present hours began; None outside of them."""
        local = at.astimezone(ZoneInfo(self.zone))
        if local.weekday() not in self.days or not self.opens <= local.time() < self.closes:
            return None
        began = local.replace(
            hour=self.opens.hour, minute=self.opens.minute, second=0, microsecond=0
        )
        return began.astimezone(UTC)


class Watch:
    """Looks after one provider's conversation; ``silence`` or ``burst`` of zero looks away."""

    def __init__(
        self,
        database: Database,
        provider: str,
        hours: BusinessHours,
        *,
        silence: timedelta = timedelta(minutes=30),
        burst: int = 20,
    ) -> None:
        self._database = database
        self._provider = provider
        self._hours = hours
        self._silence = silence
        self._burst = burst

    async def turn(self, at: datetime) -> int:
        """Look at all of it; return how many events were roused.

        Raises: Unavailable. Cost: four statements on indexes.
        """
        await self.silence(at)
        await self.burst(at)
        return await self.rouse(at)

    async def silence(self, at: datetime) -> bool:
        """Raise an alert where hours of business have gone by without an event.

        Once for each silence, and never before a first event: nothing may be connected yet.
        """
        last = await self._database.fetchval(_sql.last_arrival, self._provider)
        if last is None:
            return False
        _last_event.set(last.timestamp())
        began = self._hours.open_since(at)
        if not self._silence or began is None or at - max(last, began) < self._silence:
            return False
        return await alert(
            self._database,
            "webhook_silence",
            f"No event was delivered since {last.astimezone(UTC).isoformat()}. Look at the "
            "endpoint at the provider; `headroom webhooks catch-up` fetches what was missed.",
            at=at,
            period=max(last, began),
            subject=self._provider,
            detail={"last_event_at": last.astimezone(UTC).isoformat()},
        )

    async def burst(self, at: datetime) -> bool:
        """Raise an alert for each window with many refused signatures, with their addresses.

        The window before is looked at too, as its end may have come between two turns.
        """
        if not self._burst:
            return False
        present = window_of(at, BURST_WINDOW)
        raised = False
        for begin in (present - BURST_WINDOW, present):
            rows = await self._database.fetch(_sql.failures_since, begin, begin + BURST_WINDOW)
            total = sum(row["count"] for row in rows)
            if total < self._burst:
                continue
            addresses = {row["address"]: row["count"] for row in rows[:MOST_ADDRESSES]}
            raised |= await alert(
                self._database,
                "signature_burst",
                f"{total} deliveries with a wrong signature within a quarter of an hour, from "
                f"{len(rows)} addresses. `headroom webhooks failures --by address` shows them; "
                "if they are the provider's own, STRIPE_WEBHOOK_SECRET is not the endpoint's.",
                at=at,
                period=begin,
                severity=Severity.CRITICAL,
                subject=self._provider,
                detail={"count": total, "addresses": addresses},
            )
        return raised

    async def rouse(self, at: datetime) -> int:
        """Have events tried again that a catalog older than the newest could not place."""
        rows = await self._database.fetch(_sql.rouse_for_catalog, self._provider, at)
        if rows:
            found = [row["event_id"] for row in rows]
            log.info("a newer catalog may know their prices", extra={"events": found})
        return len(rows)
