"""The whole of ``/graphql`` on real engines, spoken to over ASGI as a client would."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from api.billing.inbox import Inbox
from api.gates.access import Access
from api.wiring import Core
from api.wiring.credentials import access_of
from api.wiring.graphql import graphql_of
from api.wiring.payments import inbox_of, stripe_of
from tests.support.clock import FakeClock
from tests.support.gate import opened
from tests.support.stripe_events import SECRET
from tests.support.transport import AsServed

Answer: TypeAlias = dict[str, Any]

CATALOG = """
product = "test"
default_customer_type = "business"

[customer_types.business]
default_plan = "free"

[customer_types.school]
default_plan = "class"

[features.calls]
name = "Calls"
kind = "metered"
unit = "call"

[features.posts]
name = "Posts"
kind = "metered"
durability = "journaled"

[features.seats]
name = "Seats"
kind = "allocation"

[features.export]
name = "Export"
kind = "boolean"

[features.support]
name = "Support"
kind = "value"

[plans.free]
name = "Free"
[plans.free.features]
calls = { hour = 5, day = { units = 8, code = "FREE_CAP_EXCEEDED", status = 429 } }
posts.month = 10
seats = 3
support = "forum"

[plans.class]
name = "Class"
customer_types = ["school"]
[plans.class.features]
calls.day = 20

[plans.pro]
name = "Pro"
[plans.pro.prices]
pro = { amount_minor = 4900, currency = "usd", interval = "month", trial_days = 14 }
[plans.pro.features]
calls.day = 100
posts.month = 100
seats = 10
export = true
support = "mail"

[plans.acme_special]
name = "As agreed with Acme"
public = false
[plans.acme_special.features]
calls.day = 1000
"""


@dataclass
class Api:
    """One server and the credentials to speak with it."""

    core: Core
    access: Access
    inbox: Inbox
    http: httpx.AsyncClient
    admin: str
    clock: FakeClock

    async def key(self, *scopes: str) -> str:
        plain, _ = await self.access.keys.create(
            "test", scopes, self.clock.now(), actor="test", reason="test"
        )
        return plain

    def token(self, customer: str, scopes: Iterable[str] = ("check",)) -> str:
        return self.access.tokens.mint(customer, scopes, 3600, self.clock.now())

    async def post(self, query: str, /, *, as_: str | None = None, **variables: object) -> Answer:
        """Return the whole answer to ``query``."""
        return await self.send({"query": query, "variables": variables}, as_=as_)

    async def send(self, body: Mapping[str, object], *, as_: str | None = None) -> Answer:
        response = await self.http.post(
            "/graphql", json=body, headers={"Authorization": f"Bearer {as_ or self.admin}"}
        )
        answer: Answer = response.json()
        return answer

    async def data(self, query: str, /, *, as_: str | None = None, **variables: object) -> Answer:
        """Return the data of an answer that has no errors."""
        answer = await self.post(query, as_=as_, **variables)
        assert "errors" not in answer, answer
        data: Answer = answer["data"]
        return data

    async def error(self, query: str, /, *, as_: str | None = None, **variables: object) -> Answer:
        """Return the one error of an answer, its extensions beside its message."""
        answer = await self.post(query, as_=as_, **variables)
        [error] = answer["errors"]
        return {"message": error["message"], **error["extensions"]}


@asynccontextmanager
async def served(
    database_url: str,
    redis_url: str,
    clock: FakeClock,
    *,
    catalog: str = CATALOG,
    customers: tuple[str, ...] = ("acme", "other"),
    **environment: str,
) -> AsyncGenerator[Api]:
    """Serve ``/graphql`` with these customers, and an admin's key to speak to it."""
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(
            opened(
                database_url,
                redis_url,
                clock,
                catalog,
                customers,
                STRIPE_WEBHOOK_SECRET=SECRET,
                **environment,
            )
        )
        access = await access_of(core)
        stripe = await stack.enter_async_context(stripe_of(core.settings))
        inbox = inbox_of(core, stripe)
        app = graphql_of(core, access, inbox, stripe=stripe)
        transport = AsServed(app, app)
        async with httpx.AsyncClient(transport=transport, base_url="http://headroom") as http:
            api = Api(core, access, inbox, http, "", clock)
            api.admin = await api.key("admin")
            yield api
