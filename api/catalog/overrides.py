"""Promises to one customer about one feature, with a reason and, often, an end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.catalog.text import is_clean
from api.domain import codes
from api.domain.catalog import (
    MAX_UNITS,
    Anchor,
    Catalog,
    Feature,
    FeatureKind,
    Limit,
    Scalar,
    WindowKind,
)
from api.domain.entitlements import OverrideFacts
from api.domain.errors import InvalidInput, UnknownFeature
from api.infra.postgres import Connection, Database, Record
from api.infra.queries import Queries

_sql = Queries.load("overrides")

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_STATUSES = frozenset({codes.PAYING_HELPS, codes.NOTHING_HELPS, codes.WAITING_HELPS})
LONGEST_VALUE = 1000


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    """One promise as it was made, and why."""

    customer_id: int
    facts: OverrideFacts
    reason: str
    actor: str
    created_at: datetime


def checked(catalog: Catalog, override: OverrideFacts, at: datetime) -> OverrideFacts:
    """Return ``override`` as it can be kept: it says something that its feature understands.

    Its end comes back in whole seconds, as the counter store counts time.
    Raises: UnknownFeature, InvalidInput.
    """
    feature = catalog.features.get(override.feature)
    if feature is None:
        raise UnknownFeature(f"There is no feature {override.feature[:200]!r}.")
    if override.enabled is None and override.value is None and not override.limits:
        raise InvalidInput("An override says enabled, a value, or at least one limit.")
    if override.enabled is False and (override.value is not None or override.limits):
        raise InvalidInput("An override that takes the feature away has no value and no limits.")
    _check_value(feature, override.value)
    _check_limits(feature, override.limits)
    expires_at = override.expires_at
    if expires_at is not None:
        expires_at = expires_at.replace(microsecond=0)
        if expires_at <= at:
            raise InvalidInput("The override would have ended already.")
    return OverrideFacts(
        override.feature, override.enabled, override.value, override.limits, expires_at
    )


async def by_customers(
    source: Connection | Database, customer_ids: Sequence[int]
) -> dict[int, tuple[OverrideRecord, ...]]:
    """Return the overrides of each customer, by feature; also those that have expired."""
    found: dict[int, list[OverrideRecord]] = {i: [] for i in customer_ids}
    for row in await source.fetch(_sql.by_customers, list(customer_ids)):
        found[row["customer_id"]].append(_record(row))
    return {customer_id: tuple(records) for customer_id, records in found.items()}


async def put(conn: Connection, record: OverrideRecord) -> None:
    """Write one promise over the last about the same feature; inside a change only."""
    facts = record.facts
    await conn.execute(
        _sql.put,
        record.customer_id,
        facts.feature,
        facts.enabled,
        facts.value,
        [limit_document(limit) for limit in facts.limits],
        record.reason,
        record.actor,
        record.created_at,
        facts.expires_at,
    )


async def clear(conn: Connection, customer_id: int, feature: str) -> OverrideRecord | None:
    """Take one promise back and return it, None when there was none; inside a change only."""
    if not is_clean(feature):
        return None
    row = await conn.fetchrow(_sql.clear, customer_id, feature)
    return None if row is None else _record(row)


def document(override: OverrideFacts) -> dict[str, object]:
    """Return what was promised, as JSON can say it."""
    return {
        "feature": override.feature,
        "enabled": override.enabled,
        "value": override.value,
        "limits": [limit_document(limit) for limit in override.limits],
        "expires_at": None if override.expires_at is None else override.expires_at.isoformat(),
    }


def limit_document(limit: Limit) -> dict[str, object]:
    """Return one limit, as JSON can say it."""
    return {
        "window": limit.window.value,
        "units": limit.units,
        "anchor": limit.anchor.value,
        "code": limit.code,
        "status": limit.status,
        "shadow": limit.shadow,
        "overage": limit.overage,
    }


def _check_value(feature: Feature, value: Scalar | None) -> None:
    if value is None:
        return
    if feature.kind is not FeatureKind.VALUE:
        raise InvalidInput(f"{feature.key!r} is {feature.kind.value}: it has no value.")
    if isinstance(value, str) and not (len(value) <= LONGEST_VALUE and is_clean(value)):
        raise InvalidInput(
            f"A value has at most {LONGEST_VALUE} characters and no control characters."
        )
    if isinstance(value, int | float) and not -MAX_UNITS <= value <= MAX_UNITS:
        raise InvalidInput("A value lies within 2^53 - 1 of zero.")  # also refuses NaN


def _check_limits(feature: Feature, limits: tuple[Limit, ...]) -> None:
    if not limits:
        return
    if feature.kind not in (FeatureKind.METERED, FeatureKind.ALLOCATION):
        raise InvalidInput(f"{feature.key!r} is {feature.kind.value}: it has no limits.")
    windows = [limit.window for limit in limits]
    if feature.kind is FeatureKind.ALLOCATION and windows != [WindowKind.LIFETIME]:
        raise InvalidInput(f"{feature.key!r} is an allocation: it has one limit, of lifetime.")
    if len(set(windows)) != len(windows):
        raise InvalidInput("An override has one limit for each window.")
    for limit in limits:
        if limit.units is not None and not 0 <= limit.units <= MAX_UNITS:
            raise InvalidInput("The units of a limit are 0 to 2^53 - 1, or none for unlimited.")
        if limit.code is not None and not _CODE.fullmatch(limit.code):
            raise InvalidInput("The code of a limit is an upper-case word, as MY_CAP_EXCEEDED.")
        if limit.status is not None and limit.status not in _STATUSES:
            raise InvalidInput("The status of a limit is 402, 403 or 429.")


def _record(row: Record) -> OverrideRecord:
    facts = OverrideFacts(
        feature=row["feature"],
        enabled=row["enabled"],
        value=row["value"],
        limits=tuple(
            Limit(
                window=WindowKind(limit["window"]),
                units=limit["units"],
                anchor=Anchor(limit.get("anchor", Anchor.CALENDAR)),
                code=limit.get("code"),
                status=limit.get("status"),
                shadow=limit.get("shadow", False),
                overage=limit.get("overage", False),
            )
            for limit in row["limits"]
        ),
        expires_at=row["expires_at"],
    )
    return OverrideRecord(row["customer_id"], facts, row["reason"], row["actor"], row["created_at"])
