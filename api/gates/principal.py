"""Who is asking, and how far they reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from api.catalog.customers import unknown
from api.domain.catalog import FeatureKind
from api.domain.errors import Forbidden, InvalidInput


class Scope(StrEnum):
    """What a credential may be used for; see ``INCLUDES`` for what each brings along."""

    CHECK = "check"
    CONSUME = "consume"
    MANAGE = "manage"
    SUPPORT = "support"
    ADMIN = "admin"


INCLUDES: dict[Scope, frozenset[Scope]] = {
    Scope.CHECK: frozenset({Scope.CHECK}),
    Scope.CONSUME: frozenset({Scope.CHECK, Scope.CONSUME}),
    # To buy, change and end subscriptions is another thing than to use what they give.
    Scope.MANAGE: frozenset({Scope.CHECK, Scope.MANAGE}),
    # Support looks, and mends what belongs to one customer; it does not spend for customers.
    Scope.SUPPORT: frozenset({Scope.CHECK, Scope.MANAGE, Scope.SUPPORT}),
    Scope.ADMIN: frozenset(Scope),
}
"""A scope, and all that whoever has it may do."""

TOKEN_SCOPES = frozenset({Scope.CHECK, Scope.CONSUME, Scope.MANAGE})
"""What a customer token can ever be minted with."""


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Read scopes as they are typed. Raises: InvalidInput, for none and for an unknown one."""
    given = frozenset(words)
    known = {scope.value: scope for scope in Scope}
    if not given or not given <= known.keys():
        wrong = ", ".join(repr(word) for word in sorted(given - known.keys())) or "none"
        raise InvalidInput(f"Scopes are {', '.join(known)}; given: {wrong[:200]}.")
    return frozenset(known[word] for word in given)


def reach(scopes: Iterable[Scope]) -> frozenset[str]:
    """Return the scopes together with all that they include."""
    return frozenset(included.value for scope in scopes for included in INCLUDES[scope])


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever was believed: a service's key, a customer's token, or this machine's operator.

    ``scopes`` are closed under ``INCLUDES``. ``customer`` is set for a token, and only then.
    """

    kind: Literal["key", "token", "local"]
    name: str
    scopes: frozenset[str]
    customer: str | None = None
    actor: str = field(init=False, repr=False, compare=False)
    """How the audit log and the API's own rate limit call this principal."""

    def __post_init__(self) -> None:
        """Name the actor once, as every call of it is asked for that name."""
        object.__setattr__(self, "actor", f"{self.kind}:{self.name}")

    def may(self, scope: str) -> bool:
        """Whether this principal reaches as far as ``scope``."""
        return scope in self.scopes

    def expect(self, scope: str) -> None:
        """Go on only with ``scope``. Raises: Forbidden."""
        if scope not in self.scopes:
            raise Forbidden(f"This needs the scope {scope!r}, which this {self.kind} lacks.")

    def expect_release(self, kind: FeatureKind) -> None:
        """Go on only where this principal may give back units of such a feature.

        A customer gives up what it holds; what it used stays used. Raises: Forbidden.
        """
        if self.customer is not None and kind is not FeatureKind.ALLOCATION:
            raise Forbidden("A customer's token never gives back what was used.")

    def customer_for(self, asked: str | None) -> str:
        """Return the customer meant: a token's own, or the one that a key names.

        Another customer than a token's own reads as unknown, whether it exists or not.
        Raises: UnknownCustomer, InvalidInput.
        """
        if self.customer is None:
            if asked is None:
                raise InvalidInput("customer is missing; only a customer token may omit it.")
            return asked
        if asked is not None and asked != self.customer:
            raise unknown(asked)
        return self.customer


LOCAL = Principal("local", "cli", frozenset(scope.value for scope in Scope))
"""The operator at the command line: whoever may read the data folder may do everything."""
