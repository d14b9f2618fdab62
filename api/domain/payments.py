"""What became of a payment, and how much of what it bought is taken back for that.

The provider tells of its objects in any order: the charge, refunds, disputes. A payment's standing
follows from the newest state of each, so the order in which they were heard does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FactKind(StrEnum):
    """Which of the provider's objects a fact is about."""

    PURCHASE = "purchase"
    PAYMENT = "payment"
    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"


@dataclass(frozen=True, slots=True)
class PaymentFact:
    """The state of one object that concerns a payment.

    ``amount_minor`` is the object's own; ``refunded_minor`` what a charge says was given back of
    it; ``stands`` is False of a refund that failed, and of a dispute that was not lost. ``final``:
    no other state follows.
    """

    kind: FactKind
    object_id: str
    amount_minor: int
    refunded_minor: int = 0
    stands: bool = True
    final: bool = False

    @property
    def place(self) -> int:
        """Where its state stands among those told in the same second: what is final comes last."""
        return int(self.final)


@dataclass(frozen=True, slots=True)
class Told:
    """A fact, and when and by which event it was told."""

    fact: PaymentFact
    at: datetime
    by: str

    @property
    def rank(self) -> tuple[datetime, int, int, str]:
        """The place among all that was told of the same object: the greatest is the newest."""
        return (self.at, self.fact.place, self.fact.refunded_minor, self.by)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a payment comes to. ``amount_minor`` 0: it is not known yet, or nothing was paid."""

    amount_minor: int = 0
    refunded_minor: int = 0
    disputed: bool = False


def standing_of(told: Iterable[Told]) -> Standing:
    """Return what a payment comes to, by the newest state of each of its objects.

    ``refunded`` is the greater of two sums: that of the refunds that stand, and what the charge
    says, less the refunds that failed since it said so. The amount is that of the payment, else
    of the charge, else of the purchase.
    """
    newest: dict[str, Told] = {}
    for one in told:
        known = newest.get(one.fact.object_id)
        if known is None or one.rank > known.rank:
            newest[one.fact.object_id] = one
    of = {kind: [t for t in newest.values() if t.fact.kind is kind] for kind in FactKind}
    refunds = of[FactKind.REFUND]
    listed = sum(t.fact.amount_minor for t in refunds if t.fact.stands)
    charged = 0
    for charge in of[FactKind.CHARGE]:
        failed = (t for t in refunds if not t.fact.stands and t.at >= charge.at)
        charged += charge.fact.refunded_minor - sum(t.fact.amount_minor for t in failed)
    return Standing(
        amount_minor=_amount(of[FactKind.PAYMENT], of[FactKind.CHARGE], of[FactKind.PURCHASE]),
        refunded_minor=max(listed, charged, 0),
        disputed=any(t.fact.stands for t in of[FactKind.DISPUTE]),
    )


def taken_back(units: int, standing: Standing) -> int:
    """Return how many of ``units`` that a payment bought are to be taken back, if they are left.

    All while it is disputed, of what is refunded the share ``floor(units x refunded / amount)``.
    """
    if standing.disputed:
        return units
    if standing.amount_minor <= 0:
        return 0
    return units * min(standing.refunded_minor, standing.amount_minor) // standing.amount_minor


def _amount(*of: Sequence[Told]) -> int:
    return next((sum(t.fact.amount_minor for t in told) for told in of if told), 0)
