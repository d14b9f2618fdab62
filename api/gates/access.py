"""From an Authorization header to who is asking.

``Bearer hr_…`` is a service's key; any other bearer credential is a customer's token. What was
believed a moment ago is recalled from memory without touching a store.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from api.domain.errors import Unauthenticated
from api.gates.api_keys import ApiKeys
from api.gates.principal import LOCAL, Principal, Scope
from api.gates.tokens import Tokens

__all__ = ["LOCAL", "Access", "Presented", "Principal", "Scope", "presented"]

_SCHEME = b"bearer "
_KEY = b"hr_"


class Presented(NamedTuple):
    """A credential as memory may know it: whether it is a service's key, and its digest."""

    key: bool
    digest: bytes


class Access:
    """Believes or refuses credentials. Instants are in ms since 1970."""

    def __init__(self, keys: ApiKeys, tokens: Tokens) -> None:
        self.keys = keys
        self.tokens = tokens

    def recall(self, presented: Presented, at_ms: int) -> Principal | None:
        """Return who presents it, if memory knows for certain; None says nothing."""
        key, digest = presented
        return self.keys.recall(digest, at_ms) if key else self.tokens.recall(digest, at_ms)

    async def authenticate(self, header: str | bytes | None, at_ms: int) -> Principal:
        """Return who is asking.

        Raises: Unauthenticated; Unavailable, where the credential cannot be judged now.
        Cost: nothing in the common case; see ``ApiKeys`` and ``Tokens``.
        """
        if header is None:
            raise Unauthenticated("Send 'Authorization: Bearer …' with an API key or a token.")
        raw = header.encode("latin-1", "replace") if isinstance(header, str) else header
        credential = _credential(raw)
        if credential is None:
            raise Unauthenticated("The Authorization header is not 'Bearer' and one credential.")
        if credential.startswith(_KEY):
            return await self.keys.authenticate(credential, at_ms)
        return await self.tokens.authenticate(credential, at_ms)


def presented(header: bytes | None) -> Presented | None:
    """Return the credential in an Authorization header; None where there is none."""
    credential = None if header is None else _credential(header)
    if credential is None:
        return None
    return Presented(credential.startswith(_KEY), hashlib.sha256(credential).digest())


def _credential(header: bytes) -> bytes | None:
    if header[: len(_SCHEME)].lower() != _SCHEME:
        return None
    credential = header[len(_SCHEME) :].strip()
    return credential if credential and b" " not in credential else None
