"""Fields with descriptions, typed: Strawberry's own decorator forgets what it decorates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def described(text: str) -> Callable[[F], F]:
    """Make a method a field that the schema describes by ``text``."""
    return cast("Callable[[F], F]", strawberry.field(description=text))
