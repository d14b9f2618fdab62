"""What an operator asks of a ledger, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.domain.catalog import Bucket
from api.domain.credits import Burned

USUAL_PRIORITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """Credits to be given; ``effective_at`` None: at once; ``features`` None: for all."""

    credits: int
    bucket: Bucket = Bucket.PERMANENT
    priority: int = USUAL_PRIORITY
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    features: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """Who acts, why and when; ``key`` names the act, so that a repeat does nothing more."""

    actor: str
    reason: str
    at: datetime
    reference: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What an act moved: ``credits`` in all, below zero where they were taken, grant by grant.

    ``available`` is what the customer has afterwards; ``replayed``: it had been done before.
    """

    customer: str
    operation_id: str
    credits: int
    grants: tuple[Burned, ...]
    available: int
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """What was taken back of a grant, and what was not: it is spent, held, or has expired."""

    booked: Booked
    grant_id: int
    spent: int
    held: int
    expired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """Kept balances that were made what their entries sum to: available and held by grant."""

    customer_id: int
    grants: dict[int, tuple[int, int]]
