"""Customer tokens: short-lived JWTs, minted here or by the product's own issuer.

Which of the two a token claims to be decides which one key and algorithm verify it: HS256 is ours
and knows our secret only; everything else is the issuer's and knows its public keys only. So no
public key can be used as a secret, and an unsigned token verifies as nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from api.catalog.text import is_customer_key, require_customer_key
from api.domain.errors import InvalidInput, Unauthenticated
from api.gates.jwks import KeySet, PublicKey
from api.gates.principal import TOKEN_SCOPES, Principal, Scope, parse_scopes, reach
from api.infra.postgres import Database
from api.infra.queries import Queries

_sql = Queries.load("access")

ISSUER = "headroom"
AUDIENCE = "headroom"
LEEWAY_SECONDS = 5
LONGEST_TTL_SECONDS = 86_400
LONGEST_TOKEN = 8192
MOST_IN_MEMORY = 10_000
BELIEVED_MS = 60_000
"""How long a verified token is believed from memory: so long a withdrawn key lives on."""

_OURS = "HS256"
_THEIRS = ("RS256", "ES256", "EdDSA")
_KINDS = frozenset({"jwt", "at+jwt"})
_SCOPE_PREFIX = "headroom:"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whom else to believe: the product's own issuer, for tokens meant for this audience."""

    issuer: str
    audience: str
    keys: KeySet
    customer_claim: str = "sub"


class Tokens:
    """Mints customer tokens and believes those that verify."""

    def __init__(self, secret: str, issuer: Issuer | None = None) -> None:
        self._secret = secret
        self._issuer = issuer
        self._verified: dict[bytes, tuple[Principal, int]] = {}

    def mint(self, customer: str, scopes: Iterable[str], ttl_seconds: int, at: datetime) -> str:
        """Return a token for one customer, valid from ``at`` for ``ttl_seconds``.

        Raises: InvalidInput, for another scope than check and consume, or a life beyond a day.
        """
        wanted = parse_scopes(scopes)
        if not wanted <= TOKEN_SCOPES:
            raise InvalidInput("A customer token has the scope check or consume, nothing more.")
        if not 1 <= ttl_seconds <= LONGEST_TTL_SECONDS:
            raise InvalidInput(f"A token lives 1 to {LONGEST_TTL_SECONDS} seconds.")
        issued = int(at.timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": require_customer_key(customer),
            "iat": issued,
            "exp": issued + ttl_seconds,
            "jti": secrets.token_urlsafe(12),
            "scope": " ".join(sorted(_SCOPE_PREFIX + scope for scope in wanted)),
        }
        return jwt.encode(claims, self._secret, _OURS)

    def recall(self, digest: bytes, at_ms: int) -> Principal | None:
        """Return whose token of this digest was verified a moment ago."""
        verified = self._verified.get(digest)
        return verified[0] if verified is not None and at_ms < verified[1] else None

    async def authenticate(self, token: bytes, at_ms: int) -> Principal:
        """Return the customer whose token this is.

        Raises: Unauthenticated; Unavailable, where the issuer's keys cannot be read.
        Cost: a signature, at most once a minute for each token; see ``KeySet.get`` for foreign
        ones.
        """
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated("The token is longer than any that is believed here.")
        digest = hashlib.sha256(token).digest()
        principal = self.recall(digest, at_ms)
        if principal is not None:
            return principal
        try:
            claims, customer_claim = await self._claims(token, at_ms)
        except RecursionError as error:
            raise Unauthenticated("The token is not one.") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The token is not believed: {error}.") from error
        ends_ms = _expect_now(claims, at_ms)
        principal = _principal(claims, customer_claim)
        while len(self._verified) >= MOST_IN_MEMORY:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = (principal, min(ends_ms, at_ms + BELIEVED_MS))
        return principal

    async def _claims(self, token: bytes, at_ms: int) -> tuple[dict[str, Any], str]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if str(header.get("typ", "JWT")).lower() not in _KINDS:
            raise Unauthenticated("The token is of a kind that is not for access.")
        if algorithm == _OURS:
            claims = _decode(token, self._secret, _OURS, ISSUER, AUDIENCE, "sub")
            return claims, "sub"
        trusted = self._issuer
        if trusted is None or algorithm not in _THEIRS:
            raise Unauthenticated("The token is signed in a way that is not believed here.")
        kid = header.get("kid")
        pinned = await trusted.keys.get(kid if isinstance(kid, str) else None, at_ms)
        claims = _decode(
            token,
            pinned.key,
            pinned.algorithm,
            trusted.issuer,
            trusted.audience,
            trusted.customer_claim,
        )
        return claims, trusted.customer_claim


async def signing_secret(database: Database, at: datetime) -> str:
    """Return this installation's own secret for tokens, made on the first call ever.

    Raises: Unavailable.
    """
    await database.execute(_sql.make_secret, "tokens", secrets.token_urlsafe(48), at)
    return str(await database.fetchval(_sql.secret, "tokens"))


def _decode(
    token: bytes,
    key: str | PublicKey,
    algorithm: str,
    issuer: str,
    audience: str,
    customer_claim: str,
) -> dict[str, Any]:
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=issuer,
        audience=audience,
        # The library would read the machine's clock; here the instant is an argument.
        options={
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "require": ["exp", "iss", "aud", customer_claim],
        },
    )


def _expect_now(claims: Mapping[str, Any], at_ms: int) -> int:
    """Return when the token ends, in ms. Raises: Unauthenticated, outside its time."""
    leeway_ms = LEEWAY_SECONDS * 1000
    ends_ms = _instant_ms(claims["exp"]) + leeway_ms
    if at_ms >= ends_ms:
        raise Unauthenticated("The token has expired; ask the product for a new one.")
    for claim in ("nbf", "iat"):
        if claim in claims and _instant_ms(claims[claim]) - leeway_ms > at_ms:
            raise Unauthenticated("The token is not valid yet.")
    return ends_ms


def _instant_ms(value: object) -> int:
    # A boolean is an int to Python; infinities and dates beyond year 9999 mean nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 38:
        raise Unauthenticated("The token's times are not numbers of seconds.")
    return int(value * 1000)


def _principal(claims: Mapping[str, Any], customer_claim: str) -> Principal:
    customer = claims.get(customer_claim)
    if not isinstance(customer, str) or not is_customer_key(customer):
        raise Unauthenticated("The token does not name a customer.")
    said = claims.get("scope", "")
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    scopes = {Scope.CHECK} | {scope for scope in TOKEN_SCOPES if _SCOPE_PREFIX + scope in words}
    return Principal("token", customer, reach(scopes), customer)
