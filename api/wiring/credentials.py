"""Access: the keys and tokens of one installation."""

from __future__ import annotations

from api.gates.access import Access
from api.gates.api_keys import ApiKeys
from api.gates.jwks import KeySet, fetch_from
from api.gates.tokens import Issuer, Tokens, signing_secret
from api.infra.settings import Settings
from api.wiring.foundation import Core


async def access_of(core: Core) -> Access:
    """Build what believes or refuses credentials. Raises: Unavailable."""
    settings = core.settings
    secret = settings.token_secret or await signing_secret(core.database, core.clock.now())
    return Access(ApiKeys(core.database), Tokens(secret, _issuer(settings)))


def _issuer(settings: Settings) -> Issuer | None:
    """Return the product's own issuer; the settings were refused where only half is named."""
    if not (settings.jwks_url and settings.jwt_issuer and settings.jwt_audience):
        return None
    return Issuer(
        settings.jwt_issuer,
        settings.jwt_audience,
        KeySet(fetch_from(settings.jwks_url)),
        settings.jwt_customer_claim,
    )
