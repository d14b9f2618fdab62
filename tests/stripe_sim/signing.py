"""Signatures as Stripe makes them, computed from its description and not by its package."""

from __future__ import annotations

import hashlib
import hmac

SECRET = "whsec_" + "a" * 32


def signature(body: bytes, at: int, secret: str = SECRET) -> str:
    """Return the ``Stripe-Signature`` header for a body that is sent at that second."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
