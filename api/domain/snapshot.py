"""The entitlement snapshot: what the fast judge must know of one customer, as plain lists.

The shapes here are what the record's side works with; the fast judge gets them packed:

- a feature that is granted, or an allocation: ``[kind, limits]``; any other is absent;
- a limit: ``[window code, units (-1: unlimited, -2: not granted, only counted), 0 or 1 shadow or 2
  overage, bounds, code, status]``;
- bounds, in whole seconds since 1970: ``[]`` never turns; ``[0, length, offset]`` fixed length;
  otherwise the adjoining boundaries themselves, the first at or before the instant of building.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from api.domain.catalog import FeatureKind, WindowKind
from api.domain.entitlements import (
    CustomerFacts,
    EntitledLimit,
    Entitlements,
    counted,
    in_force,
)
from api.domain.unlocking import Holding, Promised
from api.domain.windows import FIXED_SECONDS, Frame, Window, next_windows

KIND_CODES = {
    FeatureKind.BOOLEAN: 0,
    FeatureKind.VALUE: 1,
    FeatureKind.METERED: 2,
    FeatureKind.ALLOCATION: 3,
}

UNLIMITED = -1
COUNTED_ONLY = -2
"""Stands for the units of an allocation that is not granted: what is held is still counted."""

OVERAGE = 2
"""Marks a limit that is what the plan includes, past which credits pay."""

DAY_SECONDS = 86_400
_MONDAY = 4 * DAY_SECONDS
"""1970-01-05 was the first Monday."""

_WINDOWS_AHEAD = {WindowKind.DAY: 10}
_PERIODS_AHEAD = 4

EncodedLimit = tuple[int, int, int, list[int], str, int]
EncodedFeature = tuple[int, list[EncodedLimit]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One customer's rights in the fast judge's form, valid for ``version`` of its facts.

    Instants are whole seconds; ``valid_until_s`` 0 never ends. Past ``refresh_at_s`` (0: never)
    the snapshot still holds, and whoever notices has it built again in the background.
    """

    customer_id: int
    version: int
    built_at_s: int
    refresh_at_s: int
    valid_until_s: int
    features: Mapping[int, EncodedFeature]
    holding: Holding


def build(
    facts: CustomerFacts, entitlements: Entitlements, feature_ids: Mapping[str, int], at: datetime
) -> Snapshot:
    """Build the snapshot of ``entitlements`` as of ``at``.

    Cost: O(limits), no I/O.
    """
    pins = facts.pins or {}
    features: dict[int, EncodedFeature] = {}
    horizon: int | None = None
    for key, entitlement in entitlements.features.items():
        in_windows = counted(entitlement)
        if in_windows is None:
            continue
        limits: list[EncodedLimit] = []
        for limit in in_windows:
            bounds = encode_bounds(limit.frame, at, pins.get((key, limit.window)))
            if bounds and bounds[0] != 0:
                horizon = bounds[-1] if horizon is None else min(horizon, bounds[-1])
            limits.append(_encode_limit(limit, bounds, granted=entitlement.granted))
        features[feature_ids[key]] = (KIND_CODES[entitlement.feature.kind], limits)
    built_at_s = int(at.timestamp())
    ends = [] if horizon is None else [horizon]
    if entitlements.valid_until is not None:
        ends.append(_ceil(entitlements.valid_until))
    return Snapshot(
        customer_id=facts.id,
        version=facts.version,
        built_at_s=built_at_s,
        refresh_at_s=0 if horizon is None else _refresh_at(facts.key, built_at_s),
        valid_until_s=min(ends, default=0),
        features=features,
        holding=holding_of(facts, entitlements, at),
    )


def holding_of(facts: CustomerFacts, entitlements: Entitlements, at: datetime) -> Holding:
    """Return what a denial at that instant must know of the customer."""
    overrides = in_force(facts, at)
    return Holding(
        customer_type=facts.type,
        plan=entitlements.plan,
        plans=entitlements.plans,
        withheld=entitlements.withheld,
        blocked=tuple(sorted(key for key, o in overrides.items() if o.enabled is False)),
        overridden={
            key: tuple(Promised(x.window, x.units, x.shadow) for x in overrides[key].limits)
            for key in sorted(overrides)
            if overrides[key].limits
        },
        add_ons=entitlements.add_ons,
        zone=facts.timezone,
    )


VERSION = 5
"""Where an encoded holding has the version of the customer's rights, which no denial tells."""


def encode_holding(holding: Holding, version: int, revision: int) -> list[Any]:
    """Return ``holding`` as a plain list; what is added to it is added at the end."""
    return [
        holding.customer_type,
        holding.plan,
        list(holding.plans),
        list(holding.withheld),
        list(holding.blocked),
        version,
        revision,
        [
            [key, [[x.window.code, _encode_units(x.units), int(x.shadow)] for x in promised]]
            for key, promised in holding.overridden.items()
        ],
        [list(add_on) for add_on in holding.add_ons],
        holding.zone,
    ]


def decode_holding(encoded: Sequence[Any]) -> Holding:
    """Read what ``encode_holding`` made."""
    kind, plan, plans, withheld, blocked, _, _, overridden, add_ons, zone, *_ = encoded
    return Holding(
        customer_type=kind,
        plan=plan,
        plans=tuple(plans),
        withheld=tuple(withheld),
        blocked=tuple(blocked),
        overridden={
            key: tuple(
                Promised(
                    WindowKind.from_code(code), None if units == UNLIMITED else units, shadow == 1
                )
                for code, units, shadow in promised
            )
            for key, promised in overridden
        },
        add_ons=tuple((key, quantity) for key, quantity in add_ons),
        zone=zone,
    )


def encode_bounds(frame: Frame, at: datetime, pin: Window | None = None) -> list[int]:
    """Return the bounds of ``frame`` from the window that contains ``at`` on.

    They reach at least eight days or three periods past ``at``.
    """
    pinned = pin is not None and at in pin
    if frame.kind is WindowKind.LIFETIME:
        return []
    if not pinned:
        if frame.kind in FIXED_SECONDS:
            return [0, FIXED_SECONDS[frame.kind], 0]
        if frame.anchor is None and frame.zone == "UTC":
            if frame.kind is WindowKind.DAY:
                return [0, DAY_SECONDS, 0]
            if frame.kind is WindowKind.WEEK:
                return [0, 7 * DAY_SECONDS, _MONDAY]
    count = _WINDOWS_AHEAD.get(frame.kind, _PERIODS_AHEAD) + 1
    starts = [w.starts_at for w in next_windows(frame, at, count + 1, pin)]
    return [int(start.timestamp()) for start in starts]


def slot_name(feature_id: int, window: int, mark: int) -> str:
    """Return the field in which a limit is counted; ``mark`` is the third part of the limit."""
    return f"{feature_id}:{window}{'o' if mark == OVERAGE else ''}"


def _encode_limit(limit: EntitledLimit, bounds: list[int], *, granted: bool) -> EncodedLimit:
    return (
        limit.window.code,
        _encode_units(limit.units) if granted else COUNTED_ONLY,
        OVERAGE if limit.overage else int(limit.shadow),
        bounds,
        limit.code or "",
        limit.status or 0,
    )


def _encode_units(units: int | None) -> int:
    return UNLIMITED if units is None else units


def _refresh_at(key: str, built_at_s: int) -> int:
    """Spread renewals over the second half of two days, so that no midnight is a stampede."""
    return built_at_s + DAY_SECONDS + crc32(key.encode()) % DAY_SECONDS


def _ceil(at: datetime) -> int:
    whole = int(at.timestamp())
    return whole + (at - at.replace(microsecond=0) > timedelta(0))
