"""Keys of services and tokens of customers."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.gates import api_keys
from api.schema.context import Info
from api.schema.described import described
from api.schema.words import Scope

HOUR_SECONDS = 3600


@strawberry.type(description="What is known of a key once it was shown: everything but the key.")
class ApiKey:
    """One key of a service."""

    number: int
    name: str
    prefix: str = strawberry.field(description="How the key begins.")
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None = strawberry.field(description="To the minute.")


@strawberry.type
class CreatedApiKey:
    """A new key."""

    key: str = strawberry.field(description="The key itself, shown this once.")
    api_key: ApiKey


@strawberry.type
class CustomerToken:
    """A token that sees one customer."""

    token: str
    expires_at: datetime


@strawberry.type
class CredentialQuestions:
    """Who may speak with us."""

    @described("The newest keys, revoked ones too.")
    async def api_keys(self, info: Info) -> list[ApiKey]:
        """List keys."""
        most = info.context.services.max_page_size
        return [_key_of(row) for row in await info.context.services.access.keys.list_(most)]


@strawberry.type
class CredentialActions:
    """Letting somebody in, or no longer."""

    @described("Make a key for a service.")
    async def create_api_key(
        self, info: Info, name: str, scopes: list[Scope], reason: str
    ) -> CreatedApiKey | None:
        """Make a key."""
        context = info.context
        plain, row = await context.services.access.keys.create(
            name, scopes, context.at, actor=context.caller.actor, reason=reason
        )
        return CreatedApiKey(key=plain, api_key=_key_of(row))

    @described("Revoke a live key by its number, name or prefix; refused everywhere in 5 seconds.")
    async def revoke_api_key(self, info: Info, which: str, reason: str) -> ApiKey | None:
        """Revoke a key."""
        context = info.context
        row = await context.services.access.keys.revoke(
            which, context.at, actor=context.caller.actor, reason=reason
        )
        return _key_of(row)

    @described(
        "Mint a token that sees one customer, with CHECK or CONSUME; nobody gives a scope that it "
        "lacks. At most a day."
    )
    async def mint_customer_token(
        self,
        info: Info,
        customer: str,
        reason: str,
        scopes: list[Scope] = [Scope.CHECK],  # noqa: B006 - a default of the schema
        ttl_seconds: int = HOUR_SECONDS,
    ) -> CustomerToken | None:
        """Mint a token."""
        context = info.context
        token, expires_at = await context.services.minting.mint(
            customer,
            scopes,
            ttl_seconds,
            at=context.at,
            principal=context.caller,
            reason=reason,
        )
        return CustomerToken(token=token, expires_at=expires_at)


def _key_of(row: api_keys.ApiKey) -> ApiKey:
    return ApiKey(
        number=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=[Scope(scope) for scope in row.scopes],
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
