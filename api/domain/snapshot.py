"""The entitlement snapshot: what the fast judge must know of one customer, as plain lists.

The shapes here are what ``publish.lua`` stores and ``admit.lua`` reads:

- a feature that is granted: ``[kind, limits]``; one that is not granted is absent;
- a limit: ``[window code, units (-1: unlimited), shadow (0/1), bounds, code, status]``;
- bounds, in whole seconds since 1970: ``[]`` never turns; ``[0, length, offset]`` fixed length;
  otherwise the adjoining boundaries themselves, the first at or before the instant of building.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

from api.domain.catalog import FeatureKind, WindowKind
from api.domain.entitlements import CustomerFacts, EntitledLimit, Entitlements
from api.domain.windows import FIXED_SECONDS, Frame, Window, next_windows

KIND_CODES = {
    FeatureKind.BOOLEAN: 0,
    FeatureKind.VALUE: 1,
    FeatureKind.METERED: 2,
    FeatureKind.ALLOCATION: 3,
}

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
    customer_type: str
    plan: str
    plans: tuple[str, ...]
    withheld: tuple[str, ...]
    blocked: tuple[str, ...]
    """Features that an override takes away, so that no plan would bring them back."""


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
        if not entitlement.granted:
            continue
        limits: list[EncodedLimit] = []
        for limit in entitlement.limits:
            bounds = encode_bounds(limit.frame, at, pins.get((key, limit.window)))
            if bounds and bounds[0] != 0:
                horizon = bounds[-1] if horizon is None else min(horizon, bounds[-1])
            limits.append(_encode_limit(limit, bounds))
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
        customer_type=facts.type,
        plan=entitlements.plan,
        plans=entitlements.plans,
        withheld=entitlements.withheld,
        blocked=tuple(sorted(o.feature for o in facts.overrides if o.enabled is False)),
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


def _encode_limit(limit: EntitledLimit, bounds: list[int]) -> EncodedLimit:
    units = -1 if limit.units is None else limit.units
    return (
        limit.window.code,
        units,
        int(limit.shadow),
        bounds,
        limit.code or "",
        limit.status or 0,
    )


def _refresh_at(key: str, built_at_s: int) -> int:
    """Spread renewals over the second half of two days, so that no midnight is a stampede."""
    return built_at_s + DAY_SECONDS + crc32(key.encode()) % DAY_SECONDS


def _ceil(at: datetime) -> int:
    whole = int(at.timestamp())
    return whole + (at - at.replace(microsecond=0) > timedelta(0))
