"""Why credits do not suffice, and what a check says of them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from api.domain.decision import Decision, allow
from api.domain.funding import Short, deny_credits, most_with_credits
from api.domain.snapshot import Snapshot
from api.gates.denials import explain, precedence
from api.gates.features import Revisions
from api.gates.outcome import Denied
from api.gates.taken import Call, credits_of
from api.infra.postgres import Database
from api.ledger.balances import Purse, purse
from api.metering.counters import Reply, Verdict, figures
from api.metering.journal import instant


class Holders(Protocol):
    """What is known of a customer without the counters."""

    async def publish_key(self, customer: str, at: datetime) -> Snapshot:
        """Publish the snapshot of this customer. Raises: UnknownCustomer, Unavailable."""
        ...

    async def snapshot(self, customer: str, at: datetime) -> Snapshot:
        """Build the customer's snapshot from the record alone. Raises: UnknownCustomer."""
        ...

    async def number(self, customer: str) -> int:
        """Return the number of this customer. Raises: UnknownCustomer."""
        ...


class Lacking:
    """Reads what a customer could spend, and explains. Every method may raise ``Unavailable``."""

    def __init__(self, database: Database, revisions: Revisions, holders: Holders) -> None:
        self._database = database
        self._revisions = revisions
        self._holders = holders

    async def check(self, call: Call, reply: Reply) -> Decision:
        """Return what a consumption of the one item of ``call`` would be told now.

        ``reply`` is the counters' answer to the same question. Cost: one statement.
        """
        at = instant(call.at_ms)
        if reply.verdict is Verdict.DENIED:
            return (await self.denied(call, reply, at)).decisions[0]
        available = await self._purse(call)
        lack = await self._explained(call, reply, at, available)
        if lack is not None:
            return lack
        (item,) = call.items
        decision = allow(call.customer, item.feature.key, item.units, figures(reply.rows[0]))
        if item.cost is None:
            return decision
        balance = available.available(at, item.feature_id)
        return decision._replace(
            cost=credits_of(item, reply.charged[0]),
            balance=balance,
            max_units_now=most_with_credits(decision.windows, item.cost, balance),
        )

    async def denied(self, call: Call, reply: Reply, at: datetime) -> Denied:
        """Explain a refusal of the counters; credits that lack are told before a full window."""
        asked = [(item.feature, item.units) for item in call.items]
        catalog = self._revisions.newest.catalog
        decisions = explain(catalog, call.customer, asked, reply, at_s=call.at_ms // 1000)
        lack = await self.lack(call, reply, at) if decisions[0].window is not None else None
        if lack is not None:
            others = [d for d in decisions if d.feature != lack.feature or d.window is None]
            decisions = tuple(sorted((lack, *others), key=precedence))
        return Denied(decisions)

    async def lack(self, call: Call, reply: Reply, at: datetime) -> Decision | None:
        """Return the denial for want of credits that ``call`` would meet; None: they suffice."""
        costs = [
            credits_of(i, charged) for i, charged in zip(call.items, reply.charged, strict=True)
        ]
        if not any(costs):
            return None
        return await self._explained(call, reply, at, await self._purse(call))

    async def _purse(self, call: Call) -> Purse:
        return await purse(self._database, await self._holders.number(call.customer))

    async def _explained(
        self, call: Call, reply: Reply, at: datetime, available: Purse
    ) -> Decision | None:
        costs = [
            credits_of(i, charged) for i, charged in zip(call.items, reply.charged, strict=True)
        ]
        asked = [(item.feature_id, cost) for item, cost in zip(call.items, costs, strict=True)]
        place = available.short(asked, at)
        if place is None:
            return None
        item = call.items[place]
        same = [n for n, other in enumerate(call.items) if other.feature_id == item.feature_id]
        snapshot = await self._holders.snapshot(call.customer, at)
        return deny_credits(
            self._revisions.newest.catalog,
            snapshot.holding,
            call.customer,
            item.feature,
            sum(call.items[n].units for n in same),
            figures(reply.rows[place]) if reply.rows[place] else (),
            Short(
                sum(costs[n] for n in same),
                sum(reply.charged[n] for n in same),
                available.available(at, item.feature_id),
            ),
            at_s=call.at_ms // 1000,
        )
