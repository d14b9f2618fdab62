"""Fields with descriptions, typed: Strawberry's own decorator forgets what it decorates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry
from strawberry.types.field import StrawberryField

F = TypeVar("F", bound=Callable[..., Any])
_TASKLESS = "taskless"


def described(text: str, *, taskless: bool = False) -> Callable[[F], F]:
    """Make a method a field that the schema describes by ``text``.

    ``taskless``: it is async, and asks for a task where it needs one (``api.infra.taskless``).
    """
    made = strawberry.field(description=text, metadata={_TASKLESS: taskless})
    return cast("Callable[[F], F]", made)


def taskless(method: F) -> F:
    """Make a method a field such as ``described`` makes, without a description."""
    return cast("F", strawberry.field(method, metadata={_TASKLESS: True}))


def is_taskless(field: StrawberryField) -> bool:
    """Tell whether a field was described so."""
    return bool(field.metadata.get(_TASKLESS))
