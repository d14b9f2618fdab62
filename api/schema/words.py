"""The enums of the contract: the domain's own, under the names of their members."""

from __future__ import annotations

import strawberry

from api.domain.catalog import Anchor, Bucket, FeatureKind, Rounding, WindowKind
from api.domain.entitlements import SubscriptionStatus
from api.gates.principal import Scope
from api.ledger.entries import Kind
from api.ledger.holds import HoldState

__all__ = [
    "Anchor",
    "CreditBucket",
    "CreditEntryKind",
    "CreditRounding",
    "FeatureKind",
    "HoldState",
    "Scope",
    "SubscriptionStatus",
    "WindowKind",
]

CreditBucket = Bucket
CreditRounding = Rounding
CreditEntryKind = Kind

strawberry.enum(FeatureKind)
strawberry.enum(WindowKind)
strawberry.enum(SubscriptionStatus)
strawberry.enum(
    Anchor,
    description="Where a window's boundaries come from: the customer's calendar, or its billing "
    "period.",
)
strawberry.enum(
    Scope,
    description="What a credential may be used for. CONSUME and MANAGE include CHECK, SUPPORT "
    "includes CHECK and MANAGE, ADMIN includes everything.",
)
strawberry.enum(
    HoldState,
    description="Where a hold stands. Only an open one can change.",
)
strawberry.enum(
    Bucket,
    name="CreditBucket",
    description="Where credits come from: a paid period, a purchase for good, or a gift.",
)
strawberry.enum(
    Kind,
    name="CreditEntryKind",
    description="What an entry of the ledger does: GRANT gives, SPEND and CAPTURE use up, HOLD "
    "sets aside, RELEASE takes that back, RETURN gives back what was spent, EXPIRE and REVOKE end "
    "what is left, RESTORE undoes a REVOKE.",
)
strawberry.enum(
    Rounding,
    name="CreditRounding",
    description="How a cost that is no whole number of credits becomes one.",
)
