"""The public keys of the product's own issuer, read from its JWKS address and kept a while.

A key is pinned to one algorithm by what it is, never by what a token says: RSA of 2048 bits or
more to RS256, P-256 to ES256, Ed25519 to EdDSA. Anything else in the set is passed over, symmetric
keys above all.

Failure policy: keys that were read are used for ten minutes, and for an hour where the issuer does
not answer meanwhile; with none at hand a token can be neither believed nor refused (Unavailable).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import InvalidKeyError, PyJWKError

from api.domain.errors import Unauthenticated, Unavailable

log = logging.getLogger(__name__)

PublicKey: TypeAlias = "RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey"
Fetch: TypeAlias = Callable[[], Awaitable[bytes]]

FRESH_MS = 600_000
BELIEVED_MS = 3_600_000
AGAIN_MS = 10_000
"""An unknown key id has the set read again, at most once in this time."""
MOST_BYTES = 262_144
MOST_KEYS = 100

_TIMEOUT_SECONDS = 3.0
_LEAST_RSA_BITS = 2048
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A public key, with the one algorithm it may verify."""

    algorithm: str
    key: PublicKey


class KeySet:
    """The issuer's present keys by their ids."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._keys: Mapping[str | None, PinnedKey] = {}
        self._read_ms: int | None = None
        self._tried_ms: int | None = None
        self._reading: asyncio.Task[None] | None = None

    async def get(self, kid: str | None, at_ms: int) -> PinnedKey:
        """Return the key of this id; without an id, the only key there is.

        Raises: Unauthenticated for a key that the issuer does not publish; Unavailable.
        Cost: nothing; one request to the issuer where the keys are old or the id is unknown.
        """
        if self._age_ms(at_ms) > FRESH_MS or self._find(kid) is None:
            await self._read_again(at_ms)
        if self._age_ms(at_ms) > BELIEVED_MS:
            raise Unavailable("The issuer's keys could not be read; try again.")
        found = self._find(kid)
        if found is None:
            raise Unauthenticated("The token is signed with a key that its issuer does not have.")
        return found

    def _age_ms(self, at_ms: int) -> int:
        return BELIEVED_MS + 1 if self._read_ms is None else at_ms - self._read_ms

    def _find(self, kid: str | None) -> PinnedKey | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _read_again(self, at_ms: int) -> None:
        """Read the set, once for all callers of the moment, and not again for a while."""
        if self._reading is None:
            if self._tried_ms is not None and at_ms - self._tried_ms < AGAIN_MS:
                return
            self._tried_ms = at_ms
            self._reading = asyncio.create_task(self._read(at_ms))
        await asyncio.shield(self._reading)

    async def _read(self, at_ms: int) -> None:
        try:
            self._keys = read_keys(await self._fetch())
            self._read_ms = at_ms
        except (Unavailable, ValueError) as error:
            log.warning("the issuer's keys could not be read: %s", error)
        finally:
            self._reading = None


def read_keys(document: bytes) -> dict[str | None, PinnedKey]:
    """Return the keys of a JWKS document (RFC 7517) that may verify a token here.

    Raises: ValueError, where it is not such a document.
    """
    said = orjson.loads(document)
    entries = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise ValueError(f"it is not a set of at most {MOST_KEYS} keys")
    keys: dict[str | None, PinnedKey] = {}
    for entry in entries:
        pinned = _pin(entry) if isinstance(entry, dict) else None
        if pinned is not None:
            kid = entry.get("kid")
            keys[kid if isinstance(kid, str) else None] = pinned
    return keys


def _pin(entry: dict[str, Any]) -> PinnedKey | None:
    kind = entry.get("kty")
    curve = None if kind == "RSA" else entry.get("crv")
    algorithm = _ALGORITHMS.get((str(kind), curve)) if isinstance(curve, str | None) else None
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    try:
        key = PyJWK(entry, algorithm).key
    except (PyJWKError, InvalidKeyError, ValueError, TypeError):
        return None
    # A private key in a public place is everybody's key.
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        return None
    return PinnedKey(algorithm, key)


def fetch_from(url: str) -> Fetch:
    """Return what reads the document at ``url``: bounded in time and size, and not led elsewhere.

    The address was checked with the settings: https, or this machine.
    """

    async def fetch() -> bytes:
        try:
            async with asyncio.timeout(2 * _TIMEOUT_SECONDS):
                return await asyncio.to_thread(_get, url)
        except (URLError, HTTPException, OSError) as error:
            raise Unavailable(f"the issuer's keys at {url} did not come: {error}") from error

    return fetch


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nowhere: the address that the operator wrote is the one that is trusted."""


def _get(url: str) -> bytes:
    request = Request(url, headers={"Accept": "application/jwk-set+json, application/json"})  # noqa: S310 - checked with the settings
    with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS) as response:
        body: bytes = response.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise URLError(f"more than {MOST_BYTES} bytes")
    return body
