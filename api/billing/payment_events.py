"""Events of payments: what became of the money, and what it had bought."""

from __future__ import annotations

from api.billing import payments
from api.billing.applying import Tools, Work
from api.billing.payments import Payment
from api.domain.payments import Told


class PaymentEvents:
    """Writes what became of payments."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def apply(self, work: Work) -> None:
        """Write what became of a payment, and what follows for what it bought."""
        provider, at = self._tools.provider, work.at
        payment = Payment(provider.name, work.object_id)
        if provider.reads:
            told = [Told(fact, at, "") for fact in await provider.payment(payment.id)]
        else:
            told = [
                Told(hint.fact, event.created_at, event.event_id)
                for hint, event in zip(work.hints, work.events, strict=True)
                if hint.fact is not None
            ]
        async with self._tools.database.transaction() as conn:
            await self._tools.claims.confirm(conn, work.claim)
            await payments.hold(conn, payment, at)
            await payments.note(conn, payment, told, whole=provider.reads)
            whom = await payments.settle(conn, payment, at)
            await work.done(conn, whom)
