"""Events of checkouts that sell packs: what was bought is granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from api.billing import purchases
from api.billing.applying import Tools, Work
from api.billing.provider import Hint, ProviderPurchase


class PurchaseEvents:
    """Grants what was bought."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def apply(self, work: Work) -> None:
        """Grant the pack that a checkout sold."""
        told = await self._bought(work.object_id, work.hints)
        at = work.at
        revision = await self._tools.revisions.current()
        async with self._tools.database.transaction() as conn:
            await self._tools.claims.confirm(conn, work.claim)
            buyer: int | None = None
            if told is not None:
                payer = await self._tools.payers.buyer_of(conn, told, at)
                buyer, name = payer.id, self._tools.provider.name
                await purchases.take(conn, revision, told, provider=name, customer_id=buyer, at=at)
                await self._tools.payers.rouse(conn, [payer], work.ids, at)
            await work.done(conn, buyer)

    async def _bought(self, checkout_id: str, hints: Sequence[Hint]) -> ProviderPurchase | None:
        """Return what the checkout sells once, as it is, or as its event tells."""
        if not self._tools.provider.reads:
            return hints[0].purchase
        told = await self._tools.provider.purchase(checkout_id)
        if told is None or told.customer is None or told.customer_key is not None:
            return told
        if await self._tools.payers.known(self._tools.database, told):
            return told
        return replace(told, customer_key=await self._tools.provider.customer_key(told.customer))
