"""What ``serve --dev`` makes for its user: a customer, keys, and a secret to sign events with.

Only here are keys kept in plain: whoever can read this database owns the machine it runs on, and
``headroom demo`` and the printed lines need them again at the next start.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from api.catalog.customers import CustomerInput
from api.domain.errors import Unauthenticated
from api.gates.api_keys import ApiKeys
from api.infra.postgres import Database
from api.infra.queries import Queries
from api.wiring import Core

_sql = Queries.load("development")

CUSTOMER = "demo"
_ACTOR = "serve --dev"
_REASON = "made for development"
_KEYS = {"dev_key_consume": ("dev", "consume"), "dev_key_admin": ("dev-admin", "admin")}
_WEBHOOK_SECRET = "dev_webhook_secret"  # noqa: S105 - its name
_ADDRESS = "dev_address"


@dataclass(frozen=True, slots=True)
class Development:
    """What a development server was given; ``address`` is where it was last told to answer."""

    consume_key: str
    admin_key: str
    webhook_secret: str
    address: str


async def prepare(core: Core, address: str, at: datetime) -> Development:
    """Make what is missing of it; the same at every start.

    Raises: NoCatalog, Unavailable.
    """
    await core.changes.upsert_customer(
        CustomerInput(CUSTOMER, name="Demo customer"), at, _ACTOR, _REASON
    )
    secret = await _kept(core.database, _WEBHOOK_SECRET)
    if secret is None:
        secret = f"whsec_{secrets.token_urlsafe(32)}"
        await core.database.execute(_sql.keep, _WEBHOOK_SECRET, secret, at)
    keys = ApiKeys(core.database)
    plain = {name: await _working_key(core.database, keys, name, at) for name in _KEYS}
    await core.database.execute(_sql.keep, _ADDRESS, address, at)
    return Development(plain["dev_key_consume"], plain["dev_key_admin"], secret, address)


async def find(database: Database) -> Development | None:
    """Return what a development server made here, None where none ever ran."""
    names = ("dev_key_consume", "dev_key_admin", _WEBHOOK_SECRET, _ADDRESS)
    values = [await _kept(database, name) for name in names]
    present = [value for value in values if value is not None]
    return Development(*present) if len(present) == len(names) else None


async def _working_key(database: Database, keys: ApiKeys, kept: str, at: datetime) -> str:
    known = await _kept(database, kept)
    if known is not None:
        try:
            await keys.authenticate(known.encode(), int(at.timestamp() * 1000))
        except Unauthenticated:
            pass
        else:
            return known
    name, scope = _KEYS[kept]
    plain, _ = await keys.create(name, [scope], at, actor=_ACTOR, reason=_REASON)
    await database.execute(_sql.keep, kept, plain, at)
    return plain


async def _kept(database: Database, name: str) -> str | None:
    value = await database.fetchval(_sql.kept, name)
    return None if value is None else str(value)
