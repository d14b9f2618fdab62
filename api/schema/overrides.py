"""Promises to one customer about one feature: making them, and taking them back."""

from __future__ import annotations

from datetime import datetime

import strawberry

from api.catalog.overrides import OverrideRecord
from api.domain import catalog as domain
from api.domain.entitlements import OverrideFacts
from api.domain.errors import InvalidInput
from api.schema.context import Info
from api.schema.described import described
from api.schema.given import given
from api.schema.scalars import Json, Units
from api.schema.words import Anchor, WindowKind


@strawberry.type(description="A limit as it was promised.")
class OverrideLimit:
    """Units that may be used per window."""

    window: WindowKind
    units: Units | None = strawberry.field(description="Null: unlimited.")
    anchor: Anchor
    code: str | None
    status: int | None


@strawberry.type(description="A promise to one customer about one feature.")
class Override:
    """What replaces what the plan says."""

    feature: str
    enabled: bool | None = strawberry.field(description="Null: as the plan says.")
    value: Json | None
    limits: list[OverrideLimit]
    expires_at: datetime | None
    reason: str
    actor: str
    created_at: datetime


@strawberry.input
class OverrideLimitInput:
    """One limit to promise."""

    window: WindowKind
    units: Units | None = strawberry.field(
        default=strawberry.UNSET, description="Null: unlimited. It must be said."
    )
    anchor: Anchor = Anchor.CALENDAR
    code: str | None = strawberry.UNSET
    status: int | None = strawberry.UNSET


@strawberry.input(
    description="What is left out stays as the plan says. Limits replace the plan's of the same "
    "window and add those it has not."
)
class OverrideInput:
    """What to promise."""

    customer: str
    feature: str
    enabled: bool | None = strawberry.UNSET
    value: Json | None = strawberry.UNSET
    limits: list[OverrideLimitInput] | None = strawberry.UNSET
    expires_at: datetime | None = strawberry.UNSET

    def facts(self) -> OverrideFacts:
        """Return what is promised. Raises: InvalidInput."""
        return OverrideFacts(
            feature=self.feature,
            enabled=self.enabled if isinstance(self.enabled, bool) else None,
            value=_scalar(self.value),
            limits=tuple(_limit(limit) for limit in self.limits or ()),
            expires_at=given(self.expires_at),
        )


@strawberry.type
class OverrideActions:
    """Promising."""

    @described("Promise one customer something about one feature, in place of an earlier promise.")
    async def set_override(self, info: Info, input: OverrideInput, reason: str) -> Override | None:  # noqa: A002 - as elsewhere
        """Make a promise."""
        context = info.context
        facts = input.facts()
        customer = await context.services.changes.set_override(
            input.customer, facts, at=context.at, actor=context.caller.actor, reason=reason
        )
        context.loaders.forget()
        found = await context.loaders.overrides.load(customer.id)
        return next((override_of(one) for one in found if one.facts.feature == facts.feature), None)

    @described("Take a promise back; answers with what had been promised.")
    async def clear_override(
        self, info: Info, customer: str, feature: str, reason: str
    ) -> Override | None:
        """Take a promise back. Raises: NotFound."""
        context = info.context
        row = await context.services.customers.get(customer)
        found = await context.loaders.overrides.load(row.id)
        await context.services.changes.clear_override(
            customer, feature, at=context.at, actor=context.caller.actor, reason=reason
        )
        context.loaders.forget()
        return next((override_of(one) for one in found if one.facts.feature == feature), None)


def override_of(record: OverrideRecord) -> Override:
    """Show one promise."""
    facts = record.facts
    return Override(
        feature=facts.feature,
        enabled=facts.enabled,
        value=None if facts.value is None else Json(facts.value),
        limits=[
            OverrideLimit(
                window=limit.window,
                units=None if limit.units is None else Units(limit.units),
                anchor=limit.anchor,
                code=limit.code,
                status=limit.status,
            )
            for limit in facts.limits
        ],
        expires_at=facts.expires_at,
        reason=record.reason,
        actor=record.actor,
        created_at=record.created_at,
    )


def _limit(asked: OverrideLimitInput) -> domain.Limit:
    if asked.units is strawberry.UNSET:
        raise InvalidInput("units of a limit must be said: a count, or null for unlimited.")
    return domain.Limit(
        window=asked.window,
        units=asked.units,
        anchor=asked.anchor,
        code=given(asked.code),
        status=given(asked.status),
    )


def _scalar(value: object) -> domain.Scalar | None:
    if value is strawberry.UNSET or value is None:
        return None
    if isinstance(value, str | bool | int | float):
        return value
    raise InvalidInput("A value is a number, a text, or true or false.")
