"""What the installed ``stripe`` package declares of each kind of object, field by field.

The package names many types only for type checkers (``if TYPE_CHECKING``). Here those names are
imported when one is met, so that its annotations can be read at run time.
"""

# ruff: noqa: ANN401 - annotations are of every type

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from functools import cache
from typing import Any, ClassVar, ForwardRef, get_origin

from stripe import StripeObject
from stripe._object_classes import OBJECT_CLASSES

_FIELDS: dict[type[StripeObject], dict[str, Any]] = {}


@cache
def class_of(kind: str) -> type[StripeObject] | None:
    """Return the class that the package makes of objects that say ``object: kind``."""
    found = OBJECT_CLASSES.get(kind)
    if found is None:
        return None
    module, name = found
    made = getattr(importlib.import_module(module), name)
    assert isinstance(made, type)
    return made


def fields_of(cls: type[StripeObject]) -> dict[str, Any]:
    """Return the declared fields with their annotations; class variables are none."""
    if (known := _FIELDS.get(cls)) is None:
        known = _FIELDS[cls] = _fields(cls)
    return known


def _fields(cls: type[StripeObject]) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is StripeObject or not issubclass(base, StripeObject):
            continue
        declared |= {
            name: resolved(kind, cls.__module__)
            for name, kind in vars(base).get("__annotations__", {}).items()
            if not name.startswith("_") and get_origin(kind) is not ClassVar
        }
    kind = getattr(cls, "OBJECT_NAME", None)
    if isinstance(kind, str):
        declared.setdefault("object", str)
    return declared


def resolved(kind: Any, module: str) -> Any:
    """Return what a name written as a string stands for in that module."""
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        return _named(kind, module)
    return kind


@cache
def _named(name: str, module: str) -> Any:
    names = dict(vars(sys.modules[module])) | _only_for_checkers(module)
    return eval(name, names)  # noqa: S307 - a name out of the installed package's own source


@cache
def _only_for_checkers(module: str) -> dict[str, Any]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    branches = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        one.asname or one.name: getattr(importlib.import_module(line.module), one.name)
        for branch in branches
        for line in branch.body
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for one in line.names
        if not line.module.startswith("stripe.params")
    }
