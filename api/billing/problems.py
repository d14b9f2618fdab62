"""Why an event could not be taken or applied: one class for each problem, with what to do."""

from __future__ import annotations

from typing import ClassVar

from api.domain.errors import HeadroomError, InvalidInput, Unavailable


class SignatureRefused(InvalidInput):
    """The signature does not hold, or not at this instant; ``reason`` is one stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__("The signature of this delivery does not hold.")
        self.reason = reason


class Unapplicable(HeadroomError):
    """An event cannot be applied as things stand; its message says what to do about it.

    ``at_once``: trying again cannot help before a person has acted.
    """

    problem: ClassVar[str] = "unapplicable"
    at_once: ClassVar[bool] = False


class Unreadable(Unapplicable):
    """The provider's words are not what this version of Headroom understands."""

    problem = "unreadable"


class UnknownPayer(Unapplicable):
    """Nobody here is known to hold the subscription.

    ``waits_for`` is the provider's customer, where an event still to come may say who that is.
    """

    problem = "unknown_customer"

    def __init__(self, message: str, *, waits_for: str | None = None) -> None:
        super().__init__(message)
        self.waits_for = waits_for


class UnknownPrice(Unapplicable):
    """The catalog has neither a plan nor an add-on for a price of the subscription."""

    problem = "unknown_price"


class LinkConflict(Unapplicable):
    """The provider's customer belongs to another of the product's customers already."""

    problem = "link_conflict"


class NotAtProvider(Unapplicable):
    """The provider has no such object under the configured key."""

    problem = "not_at_provider"


class OtherVersion(Unapplicable):
    """The event speaks another version of the provider's words, and nothing can be read."""

    problem = "other_version"
    at_once = True


class CutShort(Unapplicable):
    """The event holds only a part of a list, and nothing can be read."""

    problem = "cut_short"
    at_once = True


class UnknownPack(Unapplicable):
    """The catalog has no pack of the key that a checkout names."""

    problem = "unknown_pack"
    at_once = True


class BadQuantity(Unapplicable):
    """A checkout says of how many packs, and that is no number of packs."""

    problem = "bad_quantity"
    at_once = True


class OtherAccount(InvalidInput):
    """The key is of another of the provider's accounts, or modes, than the record was made from."""


class ProviderRefused(HeadroomError):
    """The provider refuses what was asked of it, for good; ``declined``: for want of a payment."""

    code = "PROVIDER_REFUSED"
    status = 402

    def __init__(self, message: str, *, declined: bool) -> None:
        super().__init__(message)
        self.declined = declined


class RequestRefused(ProviderRefused):
    """The provider refuses it as things stand, and paying would not help."""

    status = 409


class KeyRefused(Unavailable):
    """The provider does not take our key; asking again does not help before it is set anew."""


class KeyLacksRight(KeyRefused):
    """The key holds, and may not do this."""


class Throttled(Unavailable):
    """The provider limits our calls, and may have said for how long."""

    def __init__(self, message: str, retry_after_seconds: int | None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
