"""Answers that are no success, in Stripe's shape."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """A request is answered with this status and error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body: Json = {"error": {"message": message, "type": kind, **more}}


def missing(kind: str, object_id: str, param: str = "id") -> Refused:
    """Return the answer to a read of what is not there."""
    named = kind.replace("_", " ") if kind != "checkout.session" else kind
    return Refused(
        f"No such {named}: '{object_id}'", status=404, code="resource_missing", param=param
    )


def lacking(param: str) -> Refused:
    """Return the answer to a request without a parameter that it needs."""
    return Refused(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown(param: str) -> Refused:
    """Return the answer to a parameter that does not exist."""
    return Refused(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def invalid(message: str, param: str) -> Refused:
    """Return the answer to a parameter of no use."""
    return Refused(message, param=param)


def declined(code: str, payment_intent: Json | None = None) -> Refused:
    """Return the answer to a call whose payment a card refused."""
    more: Json = {"code": "card_declined" if code.endswith(("funds", "declined")) else code}
    if code == "insufficient_funds":
        more["decline_code"] = code
    if payment_intent is not None:
        more["payment_intent"] = payment_intent
    return Refused("Your card was declined.", status=402, kind="card_error", **more)
