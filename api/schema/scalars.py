"""The scalars of the contract: exact counts, instants in UTC, and whatever JSON can say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from api.domain.catalog import MAX_UNITS

Units = NewType("Units", int)
SignedUnits = NewType("SignedUnits", int)
Json = NewType("Json", object)

ONE = Units(1)

_DIGITS = re.compile(r"[0-9]{1,16}")
_SIGNED_DIGITS = re.compile(r"-?[0-9]{1,16}")
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})"
)
_MICROSECONDS = re.compile(r"(\.\d{6})\d+")


def parse_units(value: object) -> Units:
    """Read a count: a JSON number without a fraction, or digits in a string.

    Raises: GraphQLError.
    """
    if isinstance(value, str):
        value = int(value) if _DIGITS.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_UNITS:
        raise GraphQLError("Units are a whole number from 0 to 2^53 - 1.")
    return Units(value)


def parse_signed_units(value: object) -> SignedUnits:
    """Read a difference, as ``parse_units`` reads a count, with a sign. Raises: GraphQLError."""
    if isinstance(value, str):
        value = int(value) if _SIGNED_DIGITS.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_UNITS:
        raise GraphQLError("A difference is a whole number within 2^53 - 1 of zero.")
    return SignedUnits(value)


def parse_instant(value: object) -> datetime:
    """Read an RFC 3339 instant, in whatever offset, as UTC.

    Raises: GraphQLError.
    """
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            return datetime.fromisoformat(_MICROSECONDS.sub(r"\1", value.upper())).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the shape of an instant, but no such day or hour
    raise GraphQLError("A DateTime is an RFC 3339 instant, as 2026-03-10T10:00:00Z.")


@lru_cache(maxsize=4096)
def write_instant(value: datetime) -> str:
    """Return ``value`` as RFC 3339 in UTC, with Z; those of late are kept."""
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


SCALARS: Mapping[object, ScalarDefinition] = {
    Units: strawberry.scalar(
        name="Units",
        description="A count, 0 to 2^53 - 1; what a caller gives is at least 1. "
        "A JSON number; digits in a string are accepted as input.",
        serialize=int,
        parse_value=parse_units,
    ),
    SignedUnits: strawberry.scalar(
        name="SignedUnits",
        description="A difference, within 2^53 - 1 of zero. A JSON number; digits in a string are "
        "accepted as input.",
        serialize=int,
        parse_value=parse_signed_units,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339, UTC.",
        serialize=write_instant,
        parse_value=parse_instant,
    ),
    Json: strawberry.scalar(name="JSON", serialize=lambda value: value, parse_value=lambda v: v),
}
