"""The HTTP application on a whole core, asked as a stranger would ask it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from starlette.types import ASGIApp

from api.gates.access import Access
from api.gates.api_keys import ApiKeys
from api.gates.consume import Gate
from api.gates.holding import HoldGate
from api.gates.releases import Releases
from api.gates.tokens import Tokens
from api.infra.clock import Clock
from api.infra.engines.throwaway import ThrowawayEngines
from api.infra.settings import Settings
from api.web.parts import Readiness, Receiving
from api.web.protection import Protection
from api.web.readiness import readiness_of
from api.web.routes import build_app
from api.wiring import Core
from tests.support.clock import FakeClock
from tests.support.gate import opened
from tests.support.transport import AsServed

SECRET = "a-secret-for-tokens-in-these-tests"

CATALOG = """
product = "test"

[customer_types.business]
default_plan = "free"

[features.calls]
name = "Calls"
kind = "metered"
unit = "call"

[features.posts]
name = "Posts"
kind = "metered"

[features.stamps]
name = "Stamps"
kind = "metered"

[features.sites]
name = "Sites"
kind = "allocation"

[features.export]
name = "Export"
kind = "boolean"

[features.secret_door]
name = "Secret door"
kind = "metered"

[plans.free]
name = "Free"
[plans.free.features]
calls.day = { units = 5, code = "FREE_CAP_EXCEEDED", status = 429 }
calls.month = 50
posts.month = 10
stamps.lifetime = 3
sites = 2

[plans.pro]
name = "Pro"
[plans.pro.features]
calls.day = 100
calls.month = 1000
posts.month = 100
export = true
sites = 10
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Parts made for one test."""

    gate: Gate
    releases: Releases
    holding: HoldGate
    access: Access
    protection: Protection
    clock: Clock
    settings: Settings
    readiness: Mapping[str, Readiness]
    inbox: Receiving | None = None
    graphql: ASGIApp | None = None


@dataclass(slots=True)
class Site:
    """One application, and credentials to ask it with."""

    core: Core
    clock: FakeClock
    parts: Made
    app: ASGIApp
    client: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)
    engines: ThrowawayEngines | None = None

    async def post(
        self, path: str, said: object = None, *, as_: str | None = "consume", **options: Any
    ) -> httpx.Response:
        """POST JSON with the key of scope ``as_``; ``as_`` None sends no credential."""
        headers = dict(options.pop("headers", {}))
        if as_ is not None:
            headers.setdefault("Authorization", f"Bearer {self.keys.get(as_, as_)}")
        if said is not None:
            options["json"] = said
        return await self.client.post(path, headers=headers, **options)

    async def used(self, feature: str, customer: str = "acme") -> int:
        """Return what is counted of a feature, in its widest window."""
        at_ms = int(self.clock.now().timestamp() * 1000)
        figures = await self.core.gate.figures(customer, [feature], at_ms)
        return max((figure.used for figure in figures[feature] or ()), default=0)

    def token(self, customer: str = "acme", *scopes: str, ttl_seconds: int = 300) -> str:
        """Mint a customer token."""
        return self.parts.access.tokens.mint(
            customer, scopes or ("check",), ttl_seconds, self.clock.now()
        )

    def rebuilt(self, **changed: Any) -> Site:
        """Return the same site with other parts."""
        parts = replace(self.parts, **changed)
        app = build_app(parts)
        return replace(self, parts=parts, app=app, client=client_of(app))


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AsServed(app), base_url="http://headroom.test")


@asynccontextmanager
async def site_on(
    database_url: str, redis_url: str, clock: FakeClock, catalog: str = CATALOG
) -> AsyncGenerator[Site]:
    """Build a site with a key of each scope; customers are ``acme`` and ``globex``."""
    async with opened(database_url, redis_url, clock, catalog, ("acme", "globex")) as core:
        api_keys = ApiKeys(core.database)
        parts = Made(
            gate=core.gate,
            releases=core.releases,
            holding=core.holding,
            access=Access(api_keys, Tokens(SECRET)),
            protection=Protection(0, 1),
            clock=clock,
            settings=core.settings,
            readiness=readiness_of(core.database, core.door, core.revisions),
        )
        app = build_app(parts)
        async with client_of(app) as client:
            site = Site(core, clock, parts, app, client)
            for scope in ("check", "consume", "support", "admin"):
                plain, _ = await api_keys.create(
                    scope, [scope], clock.now(), actor="local:test", reason="a test"
                )
                site.keys[scope] = plain
            yield site
