"""Looking closely at one customer's usage, taking it back, and counting it anew."""

from __future__ import annotations

import strawberry

from api.gates import repair
from api.schema.context import Info
from api.schema.decisions import WindowUsage, windows_of
from api.schema.described import described
from api.schema.given import given
from api.schema.scalars import Units
from api.schema.words import WindowKind


@strawberry.type(description="The windows of one feature.")
class FeatureUsage:
    """How one feature stands."""

    feature: str
    granted: bool
    windows: list[WindowUsage]


@strawberry.type(description="What a repair changed.")
class UsageRepair:
    """Before and after."""

    customer: str
    units: Units = strawberry.field(description="What a reset took back.")
    before: list[FeatureUsage]
    after: list[FeatureUsage]


@strawberry.type(description="One counter, in both stores.")
class ExplainedCounter:
    """What one window rests on."""

    window: WindowUsage
    counted: Units | None = strawberry.field(
        description="What the fast judge holds; null: unknown, to be filled from the record."
    )
    recorded: Units = strawberry.field(description="What the record holds.")
    drifted: bool


@strawberry.type(description="The counters of one feature.")
class ExplainedUsage:
    """Where one feature's figures come from."""

    feature: str
    counters: list[ExplainedCounter]


@strawberry.type(description="Where one customer's figures come from.")
class UsageExplanation:
    """Both stores, side by side."""

    customer: str
    shard: int
    epoch: Units = strawberry.field(description="Counters stamped with another are unknown.")
    waiting: int = strawberry.field(
        description="Operations of its shard, of all customers there, that are not recorded yet."
    )
    settled: bool = strawberry.field(
        description="False where the customer was too busy for an exact comparison."
    )
    features: list[ExplainedUsage]


@strawberry.type
class UsageQuestions:
    """Where figures come from."""

    @described("What each counter of a customer rests on, of one feature or of all.")
    async def usage_explain(
        self, info: Info, customer: str, feature: str | None = strawberry.UNSET
    ) -> UsageExplanation | None:
        """Explain. Raises: UnknownCustomer, UnknownFeature."""
        context = info.context
        found = await context.services.repair.usage_explain(customer, given(feature), context.at)
        return UsageExplanation(
            customer=found.customer,
            shard=found.shard,
            epoch=Units(found.epoch),
            waiting=found.waiting,
            settled=found.settled,
            features=[
                ExplainedUsage(feature=key, counters=[_counter_of(one) for one in counters])
                for key, counters in found.features.items()
            ],
        )


@strawberry.type
class UsageActions:
    """Mending figures, without editing any."""

    @described(
        "Give back whatever was used of a feature in its present window, or in all of them. A unit "
        "is used once and given back once, in every window."
    )
    async def reset_usage(
        self,
        info: Info,
        customer: str,
        feature: str,
        reason: str,
        window: WindowKind | None = strawberry.UNSET,
    ) -> UsageRepair | None:
        """Reset."""
        context = info.context
        repaired = await context.services.repair.usage_reset(
            customer,
            feature,
            given(window),
            actor=context.caller.actor,
            reason=reason,
            at=context.at,
        )
        return _repair_of(repaired)

    @described("Have all counters of a customer filled from the record again.")
    async def rebuild_usage(self, info: Info, customer: str, reason: str) -> UsageRepair | None:
        """Rebuild counters."""
        context = info.context
        repaired = await context.services.repair.usage_rebuild(
            customer, actor=context.caller.actor, reason=reason, at=context.at
        )
        return _repair_of(repaired)

    @described("Derive a customer's rights from the record again, and have the gate know them.")
    async def rebuild_entitlements(
        self, info: Info, customer: str, reason: str
    ) -> UsageRepair | None:
        """Rebuild rights."""
        context = info.context
        repaired = await context.services.repair.entitlements_rebuild(
            customer, actor=context.caller.actor, reason=reason, at=context.at
        )
        return _repair_of(repaired)

    @described(
        "The same for every customer; answers with how many they are. A dry run only counts them."
    )
    async def rebuild_all_entitlements(
        self,
        info: Info,
        reason: str,
        dry_run: bool = False,  # noqa: FBT001, FBT002 - an argument of the schema
    ) -> int | None:
        """Rebuild everybody's rights."""
        context = info.context
        return await context.services.rebuild.all(
            at=context.at, actor=context.caller.actor, reason=reason, dry_run=dry_run
        )


def _repair_of(repaired: repair.Repaired) -> UsageRepair:
    return UsageRepair(
        customer=repaired.customer,
        units=Units(repaired.units),
        before=_figures_of(repaired.before),
        after=_figures_of(repaired.after),
    )


def _figures_of(figures: repair.Figures) -> list[FeatureUsage]:
    return [
        FeatureUsage(
            feature=key,
            granted=windows is not None and all(figure.granted for figure in windows),
            windows=windows_of(windows or ()),
        )
        for key, windows in figures.items()
    ]


def _counter_of(counter: repair.CounterExplained) -> ExplainedCounter:
    return ExplainedCounter(
        window=windows_of((counter.figure,))[0],
        counted=None if counter.counted is None else Units(counter.counted),
        recorded=Units(counter.recorded),
        drifted=counter.drifted,
    )
