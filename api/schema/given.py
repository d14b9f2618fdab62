"""What was given, and what was left out."""

from __future__ import annotations

from typing import TypeVar

import strawberry

T = TypeVar("T")


def given(value: T | None) -> T | None:
    """Return what was given; None where it was left out, or said to be null."""
    return None if value is strawberry.UNSET else value
