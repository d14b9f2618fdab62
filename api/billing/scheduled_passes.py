"""The passes that nobody asks for: each day over what is there, each week further back."""

from __future__ import annotations

from datetime import datetime, timedelta

from api.billing.reconcile import Asked, Reconciliation
from api.catalog.alerts import alert
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

    async def daily(self, at: datetime, position: int) -> int:
        """Compare all subscriptions, and the money of thirty days."""
        await self._pass(Asked(execute=True), "the daily pass", at)
        return position

    async def weekly(self, at: datetime, position: int) -> int:
        """Compare all subscriptions, and the money of more than a year."""
        asked = Asked(execute=True, purchases_back=_FURTHER_BACK)
        await self._pass(asked, "the weekly pass", at)
        return position

    async def _pass(self, asked: Asked, reason: str, at: datetime) -> None:
        try:
            report = await self._reconciliation.run(asked, actor=_ACTOR, reason=reason, at=at)
        except HeadroomError as error:
            message = f"{reason} could not be ended: {error.message} Run `headroom reconcile`."
            await alert(self._database, "reconciliation_failed", message, at=at, period=at)
            return
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
