"""Holding the whole record against what the simulated Stripe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from api.catalog import subscriptions
from api.domain.entitlements import entitle
from tests.stripe_sim import SimulatedStripe
from tests.support import stripe_says
from tests.support.billing import Desk
from tests.support.gate import ms
from tests.support.stripe_says import Billed


@dataclass(frozen=True)
class Agreement:
    """The record of a desk, and the Stripe that it should agree with."""

    desk: Desk
    stripe: SimulatedStripe
    customers: Sequence[str]

    async def reached(self) -> None:
        """Fail unless both agree, and nothing is left to be done."""
        core = self.desk.core
        stuck = await core.database.fetch(
            "select type, object_id, state, problem, error from webhook_events"
            " where state not in ('applied', 'ignored')"
        )
        assert not stuck, [dict(row) for row in stuck]
        waiting = await core.database.fetch(
            "select action, state, error from provider_operations"
            " where state not in ('confirmed', 'refused', 'unknown')"
        )
        assert not waiting, [dict(row) for row in waiting]
        told = stripe_says.subscriptions(self.stripe)
        for key in self.customers:
            await self._agree_on(key, told)
        await self._agree_on_credits()

    async def _agree_on(self, key: str, told: dict[str, stripe_says.Held]) -> None:
        core, at = self.desk.core, self.desk.clock.now()
        customer = await core.customers.get(key)
        links = {name for _, name in await core.customers.links(customer.id)}
        held = await subscriptions.by_customer(core.database, customer.id)
        here = {one.provider_id: one for one in held}
        theirs = {one.id: one for one in told.values() if one.payer == key}
        assert set(here) <= set(theirs)
        unheard = [theirs[name] for name in set(theirs) - set(here)]
        lacking = [one for one in unheard if one.status not in stripe_says.OVER]
        assert not lacking, lacking
        for name, record in here.items():
            said = asdict(theirs[name])
            assert said.pop("id") == name
            assert said.pop("customer") in links
            assert said.pop("payer") == key
            differing = {
                what: (getattr(record, what), value)
                for what, value in said.items()
                if getattr(record, what) != value
            }
            assert not differing, f"{name}: {differing}"
        await self._agree_on_invoices(customer.id, links)
        facts = (await core.customers.many_facts([customer.id]))[customer.id]
        should = replace(
            facts,
            subscriptions=tuple(theirs[one.provider_id].facts(one.id or 0) for one in held),
        )
        wanted = entitle(core.revisions.newest.catalog, should, at)
        assert entitle(core.revisions.newest.catalog, facts, at) == wanted
        figures = (await core.gate.figures(key, ["posts"], ms(at)))["posts"] or ()
        limits = wanted.features["posts"].limits
        assert [one.limit for one in figures] == [one.units for one in limits]

    async def _agree_on_invoices(self, customer_id: int, links: set[str]) -> None:
        rows = await self.desk.core.database.fetch(
            "select * from invoices where customer_id = $1 and status <> 'deleted'", customer_id
        )
        names = [one.name for one in fields(Billed)]
        here = {row["provider_id"]: Billed(*(row[name] for name in names)) for row in rows}
        there = {
            name: one
            for name, one in stripe_says.invoices(self.stripe).items()
            if one.provider_customer in links
        }
        differing = {
            name: (here.get(name), there.get(name))
            for name in here.keys() | there.keys()
            if here.get(name) != there.get(name)
        }
        assert not differing, f"(here, by Stripe): {differing}"

    async def _agree_on_credits(self) -> None:
        rows = await self.desk.core.database.fetch(
            "select source, units, available from credit_grants where source like 'pack:%'"
        )
        here = {
            row["source"].removeprefix("pack:stripe:"): (
                row["units"],
                row["units"] - row["available"],
            )
            for row in rows
        }
        there = stripe_says.credits_bought(self.stripe)
        assert here == there, f"(granted, taken back) here {here}, by Stripe {there}"
