"""One installation with every door open, and a customer's course of subscriptions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from api.catalog import subscriptions
from api.catalog.subscriptions import SubscriptionRecord
from api.domain.decision import WindowFigure
from api.domain.entitlements import SubscriptionStatus
from api.infra.postgres import Connection
from api.wiring import Core
from api.wiring.graphql import graphql_of
from api.wiring.payments import inbox_of, stripe_of
from tests.support.clock import FakeClock
from tests.support.gate import ms
from tests.support.site import Site, client_of, site_on

BOOKKEEPER = (Path(__file__).parents[2] / "examples" / "bookkeeper.toml").read_text("utf-8")


async def subscribe(
    core: Core, customer: str, plan: str, at: datetime, **changed: Any
) -> SubscriptionRecord:
    """Give a customer an active subscription of this plan, or change the one it has."""
    number = await core.holders.number(customer)
    record = SubscriptionRecord(
        **{
            "customer_id": number,
            "provider": "test",
            "provider_id": f"sub-{customer}",
            "status": SubscriptionStatus.ACTIVE,
            "plan": plan,
            "price": plan,
            "billing_anchor": at,
            **changed,
        }
    )

    async def write(conn: Connection) -> None:
        await subscriptions.upsert(conn, record, at)

    await core.changes.change(number, at, write)
    return record


async def figures(
    core: Core, feature: str, at: datetime, customer: str = "acme"
) -> tuple[WindowFigure, ...]:
    """Return the windows of a feature that is granted."""
    found = (await core.gate.figures(customer, [feature], ms(at)))[feature]
    assert found is not None
    return found


async def used(core: Core, feature: str, at: datetime, customer: str = "acme") -> list[int]:
    """Return what the gate says is used, window by window."""
    return [figure.used for figure in await figures(core, feature, at, customer)]


async def recorded(core: Core, feature: str, customer: str = "acme") -> int:
    """Return the units of a feature that the record holds, of ever."""
    units = await core.database.fetchval(
        "select sum(t.units) from usage_totals t join features f on f.id = t.feature_id"
        " where f.key = $1 and t.customer_id = $2",
        feature,
        await core.holders.number(customer),
    )
    return int(units or 0)


@dataclass(slots=True)
class Scene:
    """A site whose GraphQL door is open too."""

    core: Core
    clock: FakeClock
    site: Site
    client: httpx.AsyncClient

    async def consume(
        self, feature: str, units: int = 1, *, key: str | None = None, customer: str = "acme"
    ) -> httpx.Response:
        """Ask ``/v1/consume`` as a product does."""
        said = {"customer": customer, "feature": feature, "units": units}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.site.post("/v1/consume", said, headers=headers)

    async def ask(self, query: str, /, **variables: Any) -> Any:  # noqa: ANN401 - any answer
        """Ask ``/graphql`` as an operator does; return the data of an answer without errors."""
        answered = await self.client.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.site.keys['admin']}"},
        )
        said = answered.json()
        assert "errors" not in said, said
        return said["data"]


@asynccontextmanager
async def scene(
    database_url: str, redis_url: str, clock: FakeClock, catalog: str = BOOKKEEPER
) -> AsyncGenerator[Scene]:
    """Build an installation that sells ``catalog``; customers are ``acme`` and ``globex``."""
    async with (
        site_on(database_url, redis_url, clock, catalog) as closed,
        stripe_of(closed.core.settings) as stripe,
    ):
        graphql = graphql_of(closed.core, closed.parts.access, inbox_of(closed.core, stripe))
        site = closed.rebuilt(graphql=graphql)
        async with client_of(site.app) as client:
            yield Scene(site.core, clock, site, client)
