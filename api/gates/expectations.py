"""What a caller may give."""

from __future__ import annotations

from api.domain.catalog import MAX_UNITS, Feature
from api.domain.errors import InvalidInput

MOST_ITEMS = 100
LONGEST_KEY = 200


def expect_units(units: int, *, least: int = 1) -> None:
    """Go on only with a number of units that can be counted. Raises: InvalidInput."""
    if not least <= units <= MAX_UNITS:
        raise InvalidInput(f"units must be {least} to 2^53 - 1, not {units}")


def expect_key(key: str) -> None:
    """Go on only with a name that a caller may give to an operation. Raises: InvalidInput."""
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable() or key.startswith("~"):
        raise InvalidInput(
            f"idempotencyKey must be 1 to {LONGEST_KEY} printable characters and not begin with ~"
        )


def not_counted(feature: Feature) -> InvalidInput:
    """Return the error of consuming what is only checked."""
    return InvalidInput(f"{feature.key} is a {feature.kind} feature: check it, nothing is used")
