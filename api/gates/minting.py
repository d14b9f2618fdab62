"""Minting a customer's token on somebody's behalf: for a customer that exists, and on record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from api.catalog import audit
from api.catalog.customers import Customers
from api.gates.principal import Principal, parse_scopes
from api.gates.tokens import Tokens
from api.infra.postgres import Database
from api.infra.telemetry import correlation_id


class Minting:
    """Mints tokens, and notes who did, for whom and why."""

    def __init__(self, database: Database, customers: Customers, tokens: Tokens) -> None:
        self._database = database
        self._customers = customers
        self._tokens = tokens

    async def mint(
        self,
        customer: str,
        scopes: Iterable[str],
        ttl_seconds: int,
        *,
        at: datetime,
        principal: Principal,
        reason: str,
    ) -> tuple[str, datetime]:
        """Return a token for ``customer`` and when it ends.

        Nobody gives what it does not have. Raises: UnknownCustomer, Forbidden, InvalidInput,
        Unavailable.
        """
        wanted = parse_scopes(scopes)
        for scope in sorted(wanted):
            principal.expect(scope)
        found = await self._customers.get(customer)
        token = self._tokens.mint(found.key, wanted, ttl_seconds, at)
        async with self._database.transaction() as conn:
            await audit.record(
                conn,
                at=at,
                actor=principal.actor,
                action="tokens.mint",
                reason=reason,
                customer_id=found.id,
                detail={"scopes": sorted(wanted), "ttl_seconds": ttl_seconds},
                correlation_id=correlation_id(),
            )
        return token, at.replace(microsecond=0) + timedelta(seconds=ttl_seconds)
