"""What the gate answers: a consumption, or a denial with its reasons."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import NamedTuple

from api.domain.decision import Decision, WindowFigure
from api.domain.errors import InvalidInput
from api.domain.funding import Funding

PRODUCT = "product"
"""Who acts where nobody is named."""

_LAST_MS = 1 << 47
"""An instant in the year 6429."""
_MOST_ITEMS = 1 << 15
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Consumption(NamedTuple):
    """Units that were counted. ``windows`` are as they stood right after.

    ``funding`` says who paid, where the feature costs credits, and ``balance`` what credits are
    left for the customer right after; None where none were asked.
    """

    id: str
    customer: str
    feature: str
    units: int
    windows: tuple[WindowFigure, ...]
    replayed: bool = False
    degraded: bool = False
    funding: Funding | None = None
    balance: int | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """A call that was refused and counted nothing; the first decision is the one to report."""

    decisions: tuple[Decision, ...]


class ConsumeRequest(NamedTuple):
    """One independent item of a batch."""

    customer: str
    feature: str
    units: int = 1
    key: str | None = None
    actor: str = PRODUCT


class ConsumptionId(NamedTuple):
    """What a consumption's opaque id holds: when and as what it is recorded."""

    at_ms: int
    item: int
    operation_id: str

    def encode(self) -> str:
        """Return the opaque form that callers keep."""
        return self.opaque(self.at_ms, self.item, self.operation_id)

    @staticmethod
    def opaque(at_ms: int, item: int, operation_id: str) -> str:
        """Return the opaque form: URL-safe base 64 without its padding."""
        text = b"%x.%x.%b" % (at_ms, item, operation_id.encode())
        plain = binascii.b2a_base64(text, newline=False)
        return plain.translate(_URL_SAFE, b"=").decode()

    @classmethod
    def names_of(cls, said: str) -> tuple[str, ...]:
        """Return the names under which the ledger may know what ``said`` names.

        That is the answer's id, our own name, or the caller's.
        """
        try:
            return (said, cls.decode(said).operation_id)
        except InvalidInput:
            return (said,)

    @classmethod
    def decode(cls, opaque: str) -> ConsumptionId:
        """Read an opaque id. Raises: InvalidInput when it is not one."""
        try:
            raw = base64.urlsafe_b64decode(opaque + "=" * (-len(opaque) % 4)).decode()
            at, item, operation_id = raw.split(".", 2)
            at_ms, place = int(at, 16), int(item, 16)
        except (ValueError, binascii.Error, UnicodeError) as error:
            raise InvalidInput("consumptionId is not the id of a consumption") from error
        # Whoever made one up would else meet the bounds of dates and columns.
        if not (0 <= at_ms < _LAST_MS and 0 <= place < _MOST_ITEMS and operation_id.isprintable()):
            raise InvalidInput("consumptionId is not the id of a consumption")
        return cls(at_ms, place, operation_id)
