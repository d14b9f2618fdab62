"""Stripe's objects in their present shapes, and what they say in any provider's words.

Shapes of API version 2026-10-28.endive: periods lie on subscription items. Only the fields that
matter here are named; whatever else an object has is passed over. Prices are in
``stripe_prices``, payments in ``stripe_payments``, what events point at in ``stripe_hints``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from api.billing.problems import Unreadable
from api.billing.provider import ProviderItem, ProviderPhase, ProviderSubscription
from api.billing.stripe_prices import Price
from api.domain.entitlements import SubscriptionStatus

LINK = "headroom_customer"
"""The key of ``metadata`` under which Stripe was told the product's name for a customer."""

LONGEST_ID = 255
_GOING = ("active", "not_started")

Shape = TypeVar("Shape", bound=msgspec.Struct)


class _Expanded(msgspec.Struct):
    id: str


Reference = str | _Expanded | None


class _Item(msgspec.Struct):
    price: Price
    current_period_start: int
    current_period_end: int
    quantity: int | None = None


class _Items(msgspec.Struct):
    data: list[_Item]
    has_more: bool = False


class _PendingItem(msgspec.Struct):
    price: Price


class _PendingUpdate(msgspec.Struct):
    subscription_items: list[_PendingItem] | None = None


class _PhaseItem(msgspec.Struct):
    price: str | Price


class _Phase(msgspec.Struct):
    start_date: int
    items: list[_PhaseItem]


class _Edges(msgspec.Struct):
    end_date: int


class _Schedule(msgspec.Struct):
    status: str
    phases: list[_Phase]
    current_phase: _Edges | None = None


class _ScheduleEvent(msgspec.Struct):
    customer: Reference = None
    subscription: Reference = None
    released_subscription: Reference = None


class _Subscription(msgspec.Struct):
    id: str
    customer: str | _Expanded
    status: str
    items: _Items
    currency: str | None = None
    billing_cycle_anchor: int | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    ended_at: int | None = None
    trial_end: int | None = None
    pending_update: _PendingUpdate | None = None
    schedule: str | _Schedule | None = None
    metadata: dict[str, str] | None = None


class _Customer(msgspec.Struct):
    id: str
    deleted: bool = False
    metadata: dict[str, str] | None = None


class Envelope(msgspec.Struct):
    """What is common to every event."""

    id: str
    object: str
    type: str
    created: int
    data: dict[str, Any]
    api_version: str | None = None


def envelope_of(payload: object) -> Envelope:
    """Return the outer part of an event. Raises: Unreadable."""
    envelope = read(payload, Envelope, "event")
    if envelope.object != "event" or not isinstance(envelope.data.get("object"), dict):
        raise Unreadable("This is not an event with an object in it.")
    for text in (envelope.id, envelope.type, envelope.api_version or "-"):
        if plain_id(text) is None:
            raise Unreadable(f"An event's id and type have 1 to {LONGEST_ID} plain characters.")
    return envelope


def subscription(obj: object, items: list[Any] | None = None) -> ProviderSubscription:
    """Return a subscription in any provider's words; ``items`` stand for a list that was cut.

    Raises: Unreadable, also for a status that is not known here.
    """
    shape = read(obj, _Subscription, "subscription")
    listed = shape.items.data
    if items is not None:
        listed = [read(item, _Item, "subscription item") for item in items]
    try:
        status = SubscriptionStatus(shape.status)
    except ValueError:
        raise Unreadable(
            f"Subscription {shape.id} has the status {shape.status!r}, which is not known here; "
            "update Headroom, then replay."
        ) from None
    parts = tuple(_item(item, shape.currency) for item in listed)
    ends_at = shape.ended_at if shape.ended_at is not None else shape.cancel_at
    ending = None if ends_at is None else instant(ends_at)
    if ending is None and shape.cancel_at_period_end and parts:
        ending = max(part.period_end for part in parts)
    waiting = shape.pending_update.subscription_items if shape.pending_update else None
    return ProviderSubscription(
        id=shape.id,
        customer=id_of(shape.customer) or "",
        customer_key=key_of(shape.metadata),
        status=status,
        items=parts,
        pending=tuple(name for i in waiting or () if (name := i.price.name)),
        scheduled=_scheduled(shape.schedule),
        billing_anchor=_maybe(shape.billing_cycle_anchor),
        trial_ends_at=_maybe(shape.trial_end),
        cancel_at_period_end=shape.cancel_at_period_end,
        ends_at=ending,
        whole=items is not None or not shape.items.has_more,
    )


def scheduled_for(obj: object) -> tuple[str | None, str | None]:
    """Return the subscription that a schedule is or was for, and whose. Raises: Unreadable."""
    told = read(obj, _ScheduleEvent, "subscription schedule")
    return id_of(told.subscription) or id_of(told.released_subscription), id_of(told.customer)


def customer_of(obj: object) -> tuple[str, str | None]:
    """Return a customer's id, and how the product calls it. Raises: Unreadable."""
    told = read(obj, _Customer, "customer")
    return told.id, key_of(told.metadata)


def customer_key(obj: object) -> str | None:
    """Return the product's name for a customer, None where Stripe has none. Raises: Unreadable."""
    return key_of(read(obj, _Customer, "customer").metadata)


def claimed_by(payload: object) -> tuple[str | None, str | None]:
    """Return the event id and the customer that an unverified body claims, if it has such."""
    if not isinstance(payload, dict):
        return None, None
    data = payload.get("data")
    obj = data.get("object") if isinstance(data, dict) else None
    event_id = plain_id(payload.get("id"))
    if not isinstance(obj, dict):
        return event_id, None
    metadata = obj.get("metadata")
    key = metadata.get(LINK) if isinstance(metadata, dict) else None
    named = (key, obj.get("client_reference_id"), obj.get("customer"))
    return event_id, next((found for one in named if (found := plain_id(one))), None)


def _scheduled(schedule: str | _Schedule | None) -> tuple[ProviderPhase, ...] | None:
    """Return what is to come after the present phase; None where only its id was told."""
    if isinstance(schedule, str):
        return None
    if schedule is None or schedule.status not in _GOING or schedule.current_phase is None:
        return ()
    coming = [p for p in schedule.phases if p.start_date >= schedule.current_phase.end_date]
    return tuple(
        ProviderPhase(
            instant(phase.start_date),
            tuple(n for i in phase.items if isinstance(i.price, Price) and (n := i.price.name)),
        )
        for phase in sorted(coming, key=lambda phase: phase.start_date)
    )


def _item(item: _Item, currency: str | None) -> ProviderItem:
    quantity = 1 if item.quantity is None else item.quantity
    price = item.price
    return ProviderItem(
        price=price.name,
        price_id=price.id,
        quantity=quantity,
        period_start=instant(item.current_period_start),
        period_end=instant(item.current_period_end),
        cost_minor=price.cost(quantity, currency),
        currency=currency or price.currency,
        interval=price.recurring.interval if price.recurring else None,
        every=price.recurring.interval_count if price.recurring else 1,
    )


def read(obj: object, shape: type[Shape], what: str) -> Shape:
    """Return the fields of ``shape`` that an object has. Raises: Unreadable."""
    try:
        return msgspec.convert(obj, shape)
    except msgspec.ValidationError as error:
        raise Unreadable(
            f"The {what} is not in the shape that is understood here: {error}. Set the endpoint "
            "to our API version or update Headroom, then replay."
        ) from error


def instant(seconds: int) -> datetime:
    """Return the instant of a Unix time. Raises: Unreadable, where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise Unreadable(f"{seconds} is not an instant.") from error


def _maybe(seconds: int | None) -> datetime | None:
    return None if seconds is None else instant(seconds)


def id_of(reference: Reference) -> str | None:
    """Return the id of what is referred to, also where it was written out."""
    return reference.id if isinstance(reference, _Expanded) else reference


def key_of(metadata: Mapping[str, str] | None) -> str | None:
    """Return the product's name for a customer, where the metadata has it."""
    return (metadata or {}).get(LINK) or None


def plain_id(value: object) -> str | None:
    """Return ``value`` if it can be kept as an id."""
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable()
    return str(value) if fits else None
