"""Errors a caller may expect, each with a stable code, a status and a public message.

A denial is not among them: it is a returned value. What is not a ``HeadroomError`` is a bug, to be
masked at the edge and reported under an error id.
"""

from typing import ClassVar


class HeadroomError(Exception):
    """The root of every expected error; ``message`` is fit for a stranger's eyes."""

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(HeadroomError):
    """The request cannot mean anything; nothing was changed."""

    code = "INVALID_INPUT"
    status = 400


class Unauthenticated(HeadroomError):
    """No credential, or one that is not believed."""

    code = "UNAUTHENTICATED"
    status = 401


class Forbidden(HeadroomError):
    """The credential is believed and does not reach this far."""

    code = "FORBIDDEN"
    status = 403


class NotFound(HeadroomError):
    """There is no such thing, or none that this caller may see."""

    code = "NOT_FOUND"
    status = 404


class UnknownFeature(NotFound):
    """The catalog has no feature of that key."""

    code = "UNKNOWN_FEATURE"


class UnknownCustomer(NotFound):
    """There is no such customer, or not for this token."""

    code = "UNKNOWN_CUSTOMER"


class IdempotencyConflict(HeadroomError):
    """The key was used before, for an operation with other contents."""

    code = "IDEMPOTENCY_CONFLICT"
    status = 409


class HoldClosed(HeadroomError):
    """The hold was captured or voided, or it has expired: it cannot change any more."""

    code = "HOLD_CLOSED"
    status = 409


class RateLimited(HeadroomError):
    """The API protects itself; never to be confused with a customer's quota."""

    code = "RATE_LIMITED"
    status = 429

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(HeadroomError):
    """An engine or a provider did not answer; raised only at a door, and worth a retry."""

    code = "UNAVAILABLE"
    status = 503
    retryable = True
