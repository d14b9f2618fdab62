"""Events of customers who were deleted at the provider: their subscriptions are looked at."""

from __future__ import annotations

from api.billing.applying import Tools, Work
from api.billing.looks import Look, look
from api.catalog import subscriptions
from api.catalog.alerts import alert
from api.domain.event_order import TERMINAL


class DepartureEvents:
    """Has what a deleted customer held end by the one road, and tells a person."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def apply(self, work: Work) -> None:
        """Have the subscriptions read again, where any can be; nothing is written of them here."""
        provider = self._tools.provider
        newest = max(work.events, key=lambda event: event.created_at)
        async with self._tools.database.transaction() as conn:
            await self._tools.claims.confirm(conn, work.claim)
            whom = await self._tools.payers.billed(conn, work.hints)
            if whom is not None:
                held = [
                    one.provider_id
                    for one in await subscriptions.by_customer(conn, whom)
                    if one.provider == provider.name and one.status not in TERMINAL
                ]
                if held and provider.reads:
                    await look(conn, provider.name, Look.SUBSCRIPTION, held, work.at, soon=True)
                await alert(
                    conn,
                    "customer_deleted",
                    f"{work.object_id} was deleted at the payment provider, which ends all that it "
                    "holds there. Look whether that was meant: it cannot be taken back, and who "
                    "goes on has to subscribe anew, as another customer of the provider.",
                    at=work.at,
                    period=newest.created_at,
                    subject=work.object_id,
                    detail={"subscriptions": held},
                )
            await work.done(conn, whom)
