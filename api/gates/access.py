"""From an Authorization header to who is asking.

``Bearer hr_…`` is a service's key; any other bearer credential is a customer's token. What was
believed a moment ago is recalled from memory without touching a store.
"""

from __future__ import annotations

import hashlib

from api.domain.errors import Unauthenticated
from api.gates.api_keys import ApiKeys
from api.gates.principal import LOCAL, Principal, Scope
from api.gates.tokens import Tokens

__all__ = ["LOCAL", "Access", "Principal", "Scope"]

_SCHEME = b"bearer "
_KEY = b"hr_"
_USUAL = b"Bearer hr_"


class Access:
    """Believes or refuses credentials. Instants are in ms since 1970."""

    def __init__(self, keys: ApiKeys, tokens: Tokens) -> None:
        self.keys = keys
        self.tokens = tokens

    def recall(self, header: bytes, at_ms: int) -> Principal | None:
        """Return who sends this header, if memory knows for certain; None says nothing."""
        if header.startswith(_USUAL):
            return self.keys.recall(hashlib.sha256(header[len(_SCHEME) :]).digest(), at_ms)
        credential = _credential(header)
        if credential is None:
            return None
        digest = hashlib.sha256(credential).digest()
        if credential.startswith(_KEY):
            return self.keys.recall(digest, at_ms)
        return self.tokens.recall(digest, at_ms)

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


def _credential(header: bytes) -> bytes | None:
    if header[: len(_SCHEME)].lower() != _SCHEME:
        return None
    credential = header[len(_SCHEME) :].strip()
    return credential if credential and b" " not in credential else None
