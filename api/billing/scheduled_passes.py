"""The passes that nobody asks for: each day over what is there, each week further back."""

from __future__ import annotations

from datetime import datetime, timedelta

from api.billing.reconcile import Asked, Reconciliation
from api.catalog.alerts import alert, window_of
from api.domain.errors import HeadroomError
from api.infra.postgres import Database

DAILY = timedelta(days=1)
WEEKLY = timedelta(days=7)
MANY = 20
"""From so many differences on, a person should know: events are being lost."""

_ACTOR = "headroom:schedule"
_FURTHER_BACK = timedelta(days=400)


class ScheduledPasses:
    """Daily and weekly passes over everything; both heal what they can and report the rest."""

    def __init__(self, database: Database, reconciliation: Reconciliation) -> None:
        self._database = database
        self._reconciliation = reconciliation

    async def daily(self, at: datetime, position: int) -> int | None:
        """Compare all subscriptions, and the money of thirty days; None where it did not end."""
        ended = await self._pass(Asked(execute=True), "the daily pass", at)
        return position if ended else None

    async def weekly(self, at: datetime, position: int) -> int | None:
        """Compare all subscriptions, and the money of more than a year."""
        asked = Asked(execute=True, purchases_back=_FURTHER_BACK)
        return position if await self._pass(asked, "the weekly pass", at) else None

    async def _pass(self, asked: Asked, reason: str, at: datetime) -> bool:
        try:
            report = await self._reconciliation.run(asked, actor=_ACTOR, reason=reason, at=at)
        except HeadroomError as error:
            message = (
                f"{reason} could not be ended, and is tried again in some minutes: {error.message}"
            )
            # Once a day, however often it is tried again.
            day = window_of(at, DAILY)
            kind = "reconciliation_failed"
            await alert(self._database, kind, message, at=at, period=day, subject=reason)
            return False
        elsewhere = ("missing_credits", "payments_differing", "invoices_differing")
        wrong = report.differing + sum(report.counts[name] for name in elsewhere)
        if wrong >= MANY or report.counts["unreadable"]:
            message = (
                f"{reason} found {wrong} differences, of which {report.counts['unreadable']} could "
                "not be read: see `headroom reconciliation runs`, and the endpoint at the provider."
            )
            detail = dict(report.counts)
            await alert(
                self._database,
                "reconciliation_differences",
                message,
                at=at,
                period=at,
                detail=detail,
            )
        return True
