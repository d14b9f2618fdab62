"""What a change of plan would cost, and what of today's use its limits would not allow."""

from __future__ import annotations

from dataclasses import replace

import strawberry

from api.billing.actions import When
from api.catalog.customers import Entitled
from api.domain.entitlements import Entitlement, entitle
from api.schema.context import Context
from api.schema.scalars import SignedUnits, Units
from api.schema.words import FeatureKind, WindowKind

_COUNTED = frozenset({FeatureKind.METERED, FeatureKind.ALLOCATION})


@strawberry.type(description="Used now, and more than the plan would allow. Nothing is taken away.")
class PlanExcess:
    """One window of one feature."""

    feature: str
    window: WindowKind
    used: Units
    limit: Units


@strawberry.type(description="Amounts in the currency's smallest unit; below zero is a credit.")
class PlanPreview:
    """What would come of a change."""

    currency: str
    due_now_minor: SignedUnits
    next_amount_minor: SignedUnits
    removed_add_ons: list[str] = strawberry.field(
        description="Add-ons held that are not sold beside the plan: the change gives them up."
    )
    over: list[PlanExcess]


async def previewed(
    context: Context,
    customer: str,
    plan: str,
    price: str | None,
    when: When,
    subscription: str | None,
) -> PlanPreview:
    """Ask the provider for the amounts, and the gate for what is used."""
    caller = context.caller
    cost, held = await context.services.billing.preview(
        customer,
        plan,
        price=price,
        when=when,
        subscription=subscription,
        own=caller.customer is not None,
    )
    rights = await context.loaders.rights.load(held.customer_id)
    if rights is None:
        raise LookupError("a customer that was found has no row")
    return PlanPreview(
        currency=cost.currency,
        due_now_minor=SignedUnits(cost.now_minor),
        next_amount_minor=SignedUnits(cost.next_minor),
        removed_add_ons=list(cost.removed),
        over=await _over(context, customer, rights, (held.id, plan, cost.removed)),
    )


async def _over(
    context: Context,
    customer: str,
    rights: Entitled,
    change: tuple[int | None, str, tuple[str, ...]],
) -> list[PlanExcess]:
    facts, (number, plan, removed) = rights.held.facts, change
    changed = tuple(
        replace(
            one,
            plan=plan,
            price=None,
            add_ons=tuple(held for held in one.add_ons if held[0] not in removed),
        )
        if one.id == number
        else one
        for one in facts.subscriptions
    )
    then = entitle(rights.revision.catalog, replace(facts, subscriptions=changed), context.at)
    known = context.services.revisions.newest.catalog.features
    counted = [
        key
        for key, one in rights.entitlements.features.items()
        if one.feature.kind in _COUNTED and key in known
    ]
    figures = await context.services.gate.figures(customer, counted, context.at_ms)
    return [
        PlanExcess(feature=key, window=figure.window, used=Units(figure.used), limit=Units(limit))
        for key in counted
        for figure in figures[key] or ()
        if (limit := _limit(then.features[key], figure.window)) is not None and figure.used > limit
    ]


def _limit(entitlement: Entitlement, window: WindowKind) -> int | None:
    """Return what would be allowed; None where that is without end."""
    if not entitlement.granted:
        return 0
    return next((limit.units for limit in entitlement.limits if limit.window is window), None)
