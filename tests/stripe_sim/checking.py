"""Hold an object against the types that the ``stripe`` package declares, field by field.

Every key must be declared, every field that is not optional must be there, and every value must
be of its type, at every depth. Stripe's enums are open in the package (``Literal`` or any string);
here they are closed: a word that the package does not know is a mistake of the simulation.
"""

# ruff: noqa: ANN401 - what is checked may be anything

from __future__ import annotations

import types
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from stripe import ListObject, SearchResultObject, StripeObject
from stripe._stripe_object import UntypedStripeObject

from tests.stripe_sim.annotations import class_of, fields_of, resolved

Json = dict[str, Any]


class Misshapen(AssertionError):
    """The object is not what the package declares; each fault names its path."""

    def __init__(self, kind: str, faults: list[str]) -> None:
        super().__init__(f"{kind}: " + "; ".join(faults))
        self.faults = faults


def check(obj: Json) -> None:
    """Require that an object has the declared shape of its kind. Raises: Misshapen."""
    faults = list(faults_of(obj))
    if faults:
        raise Misshapen(f"{obj.get('object')} {obj.get('id')}", faults)


def faults_of(obj: Json) -> Iterator[str]:
    """Tell all that is wrong with an object."""
    kind = obj.get("object")
    if obj.get("deleted") is True:
        if set(obj) != {"id", "object", "deleted"}:
            yield "a deleted object says id, object and deleted only"
        return
    if kind in ("list", "search_result"):
        yield from _list_faults(obj, Any, "", "", result=kind == "search_result")
        return
    cls = class_of(kind) if isinstance(kind, str) else None
    if cls is None:
        yield f"no object is called {kind!r}"
        return
    yield from _object_faults(obj, cls, "")


def _object_faults(obj: Any, cls: type[StripeObject], path: str) -> Iterator[str]:
    if not isinstance(obj, dict):
        yield f"{path}: {obj!r} is no {cls.__name__}"
        return
    name = getattr(cls, "OBJECT_NAME", None)
    if isinstance(name, str) and obj.get("object") != name:
        yield f"{path}.object: {obj.get('object')!r} is not {name!r}"
    fields = fields_of(cls)
    for key, value in obj.items():
        if key not in fields:
            yield f"{path}.{key}: not declared by {cls.__qualname__}"
        else:
            yield from _value_faults(value, fields[key], f"{path}.{key}", cls.__module__)
    for key, kind in fields.items():
        if key not in obj and not _optional(kind):
            yield f"{path}.{key}: missing"
    if name == "event" and isinstance(obj.get("data"), dict):
        held = obj["data"].get("object")
        if isinstance(held, dict):
            yield from (f"{path}.data.object{fault}" for fault in faults_of(held))


def _list_faults(
    obj: Any, inner: Any, path: str, module: str, *, result: bool = False
) -> Iterator[str]:
    keys = {"object", "data", "has_more", "url"} | ({"next_page"} if result else set())
    if not isinstance(obj, dict) or set(obj) - {"total_count"} != keys:
        yield f"{path}: {obj!r} is no list"
        return
    if not isinstance(obj["has_more"], bool) or not isinstance(obj["url"], str):
        yield f"{path}: has_more and url are of another type"
    for number, one in enumerate(obj["data"]):
        if inner is Any:
            yield from (f"{path}.data[{number}]{fault}" for fault in faults_of(one))
        else:
            yield from _value_faults(one, inner, f"{path}.data[{number}]", module)


def _value_faults(value: Any, kind: Any, path: str, module: str) -> Iterator[str]:  # noqa: C901, PLR0912 - one case for each form of annotation
    kind = resolved(kind, module)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        yield from _union_faults(value, args, path, module)
    elif origin is Literal:
        if not any(value == word and type(value) is type(word) for word in args):
            yield f"{path}: {value!r} is none of {', '.join(map(str, args))}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
            return
        for number, one in enumerate(value):
            yield from _value_faults(one, args[0], f"{path}[{number}]", module)
    elif origin is ListObject or kind is ListObject:
        yield from _list_faults(value, args[0] if args else Any, path, module)
    elif origin is SearchResultObject:
        yield from _list_faults(value, args[0], path, module, result=True)
    elif origin is UntypedStripeObject:
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no mapping"
            return
        for key, one in value.items():
            yield from _value_faults(one, args[0], f"{path}.{key}", module)
    elif kind is Any or isinstance(kind, TypeVar):
        return
    elif isinstance(kind, type) and issubclass(kind, StripeObject):
        yield from _object_faults(value, kind, path)
    elif not _plain(value, kind):
        yield f"{path}: {value!r} is no {getattr(kind, '__name__', kind)}"


def _union_faults(value: Any, choices: tuple[Any, ...], path: str, module: str) -> Iterator[str]:
    if value is None and type(None) in choices:
        return
    said = [resolved(one, module) for one in choices if one is not type(None)]
    if any(get_origin(one) is Literal for one in said):
        said = [one for one in said if one is not str]
    worst: list[str] = []
    for one in said:
        faults = list(_value_faults(value, one, path, module))
        if not faults:
            return
        # The faults of the alternative that is alike in kind say most.
        if not worst or (isinstance(value, dict) and one is not str):
            worst = faults
    yield from worst or [f"{path}: {value!r} may not be here"]


def _plain(value: Any, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float)
    if kind is Decimal:
        return isinstance(value, str) and _decimal(value)
    return isinstance(kind, type) and isinstance(value, kind)


def _decimal(said: str) -> bool:
    try:
        Decimal(said)
    except InvalidOperation:
        return False
    return True


def _optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)
