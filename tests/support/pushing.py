"""A simulated Stripe, and pushes of a catalog to it as operators do them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from api.billing.pushing import Progress, Pushed, Pusher
from api.billing.stripe_api import StripeApi
from api.billing.stripe_shelf import StripeShelf
from api.catalog.file import parse
from api.domain.catalog import Catalog
from api.infra.postgres import Database
from tests.stripe_sim import SimulatedStripe, simulated_stripe
from tests.support.clock import FakeClock

TEXT = """
product = "shop"

[customer_types.business]
default_plan = "free"

[features.posts]
name = "Posts"
kind = "metered"

[costs.posts]
credits = 1

[plans.free]
name = "Free"

[plans.builder]
name = "Builder"
[plans.builder.prices]
builder_monthly = { amount_minor = 4900, currency = "usd", interval = "month", trial_days = 14 }
builder_annual = { amount_minor = 49000, currency = "usd", interval = "year" }
builder_monthly_eur = { amount_minor = 4500, currency = "eur", interval = "month" }

[plans.studio]
name = "Studio"
[plans.studio.prices]
studio = { amount_minor = 9900, currency = "usd", interval = "month" }

[add_ons.firm_addon]
name = "One more firm"
[add_ons.firm_addon.prices]
firm_addon = { amount_minor = 1900, currency = "usd", interval = "month" }

[packs.boost]
name = "100 credits"
credits = 100
[packs.boost.prices]
boost = { amount_minor = 1000, currency = "usd", interval = "once" }
boost_eur = { amount_minor = 900, currency = "eur", interval = "once" }
"""
KEYS = {
    "builder_monthly",
    "builder_annual",
    "builder_monthly_eur",
    "studio",
    "firm_addon",
    "boost",
    "boost_eur",
}
ITEMS = {"plan:builder", "plan:studio", "add_on:firm_addon", "pack:boost"}
STEPS = len(KEYS) + len(ITEMS)


def catalog(*changes: tuple[str, str]) -> Catalog:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return parse(text, "shop.toml")


CATALOG = catalog()
DEARER = catalog(("amount_minor = 4900,", "amount_minor = 5900,"))


@dataclass
class Shop:
    """A simulated Stripe, and pushes to it as operators do them."""

    sim: SimulatedStripe
    database: Database
    api: StripeApi
    clock: FakeClock

    async def push(
        self,
        what: Catalog = CATALOG,
        *,
        retire: bool = False,
        progress: Progress = lambda _done, _total, _step: None,
    ) -> Pushed:
        return await Pusher(self.database, StripeShelf(self.api)).push(
            what,
            retire=retire,
            actor="local:op",
            reason="as the catalog says",
            at=self.clock.now(),
            progress=progress,
        )

    async def repeated(self, what: Catalog) -> None:
        """Push again after something went wrong; then nothing is left and nothing is double."""
        await self.push(what)
        before = self.writes
        assert (await self.push(what)).plan.steps == ()
        assert self.writes == before
        items = {one["id"]: one["metadata"].get("headroom_item") for one in self.sim.all("product")}
        assert Counter(items.values()) == Counter(ITEMS)
        held = Counter(one["lookup_key"] for one in self.sim.all("price") if one["lookup_key"])
        assert held == Counter(KEYS)
        live = Counter(
            one["metadata"]["headroom_price"] for one in self.sim.all("price") if one["active"]
        )
        assert live == Counter(KEYS)

    async def by_hand(self, id_: str, **changes: Any) -> None:
        """Change a product or a price as somebody does in Stripe's own pages."""
        kind = "products" if id_.startswith("headroom_") else "prices"
        service: Any = getattr(self.api.v1, kind)
        await self.api.ask(service.update_async(id_, changes))

    @property
    def writes(self) -> int:
        return self.sim.faults.asked(method="POST") + self.sim.faults.asked(method="DELETE")

    def price(self, key: str) -> dict[str, Any]:
        (found,) = [one for one in self.sim.all("price") if one["lookup_key"] == key]
        return dict(found)

    async def acts(self) -> int:
        sql = "select count(*) from audit_log where action = 'catalog.push'"
        return int(await self.database.fetchval(sql))


@asynccontextmanager
async def pushing(database: Database, clock: FakeClock) -> AsyncGenerator[Shop]:
    """Open an empty account at a simulated Stripe."""
    async with simulated_stripe(clock) as sim:
        api = StripeApi(sim.key, sim.address)
        yield Shop(sim, database, api, clock)
        await api.close()
