"""What cards answer, and what a test says the next payments do."""

from __future__ import annotations

from dataclasses import dataclass, field

OK, DECLINES, AUTHENTICATES = "ok", "card_declined", "authentication_required"

# Stripe's own names of test cards.
TEST_CARDS = {
    "pm_card_visa": OK,
    "pm_card_mastercard": OK,
    "pm_card_chargeCustomerFail": DECLINES,
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_authenticationRequired": AUTHENTICATES,
    "ok": OK,
    "fails": DECLINES,
    "authenticates": AUTHENTICATES,
}


@dataclass
class Cards:
    """Decides how a payment ends: a test's word comes first, then the card's."""

    answers: dict[str, str] = field(default_factory=dict)
    """What each payment method answers."""
    _next: list[tuple[str | None, str]] = field(default_factory=list)
    _always: dict[str | None, str] = field(default_factory=dict)

    def fail_next(
        self, customer: str | None = None, *, times: int = 1, code: str = DECLINES
    ) -> None:
        """Let the next payments of a customer, or of anybody, fail."""
        self._next += [(customer, code)] * times

    def fail_always(self, customer: str | None = None, *, code: str = DECLINES) -> None:
        """Let every payment of a customer, or of anybody, fail until it is healed."""
        self._always[customer] = code

    def heal(self, customer: str | None = None) -> None:
        """Let payments of a customer, or of anybody, succeed again."""
        self._always.pop(customer, None)
        self._next = [one for one in self._next if one[0] != customer]
        if customer is None:
            self._always.clear()
            self._next.clear()

    def answer(self, customer: str | None, method: str | None) -> str:
        """Return ``ok``, or the code with which this payment fails."""
        for at, (whose, code) in enumerate(self._next):
            if whose in (None, customer):
                del self._next[at]
                return code
        for whose in (customer, None):
            if whose in self._always:
                return self._always[whose]
        return self.answers.get(method or "", OK) if method else "missing"
