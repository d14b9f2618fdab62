"""Scalars and enums, from what a resolver gave to what JSON can hold.

Each leaf is an expression that tells the usual kind of value by its type alone, and a function for
every other: that of graphql-core, so that both roads accept, convert and refuse alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
)
from graphql.pyutils import inspect
from strawberry.types.enum import StrawberryEnumDefinition

from api.schema.compiled.unfit import Unsupported
from api.schema.scalars import write_instant

_MOST, _LEAST = 2**31 - 1, -(2**31)


class Leaf(NamedTuple):
    """How a leaf is written: ``{v}`` stands for the value, other names for ``constants``.

    ``usual`` tells whether the value is of the usual kind, ``written`` is what it becomes then.
    ``kind`` is its type where nothing but the type makes it usual.
    """

    usual: str
    written: str
    constants: Mapping[str, object] = MappingProxyType({})
    kind: type | None = None


_KNOWN = {
    GraphQLString.name: Leaf("type({v}) is str", "{v}", kind=str),
    GraphQLID.name: Leaf("type({v}) is str", "{v}", kind=str),
    GraphQLBoolean.name: Leaf("type({v}) is bool", "{v}", kind=bool),
    GraphQLInt.name: Leaf(f"type({{v}}) is int and {_LEAST} <= {{v}} <= {_MOST}", "{v}"),
}


def leaf_of(type_: GraphQLLeafType) -> Leaf:
    """Return the short way for ``type_``. Raises: Unsupported."""
    if isinstance(type_, GraphQLEnumType):
        return _enum(type_)
    known = _KNOWN.get(type_.name)
    if known is not None:
        return known
    if type_.coerce_output_value is int:
        return Leaf("type({v}) is int", "{v}", kind=int)
    if type_.coerce_output_value is write_instant:
        constants = {"kind": datetime, "write": write_instant}
        return Leaf("type({v}) is {kind}", "{write}({v})", constants, datetime)
    return Leaf("False", "{v}")


def general(type_: GraphQLLeafType, parent: str, field: str, *, null: bool) -> Callable[[Any], Any]:
    """Return the long way, for whatever value; ``null``: whether the position may be null.

    It raises what graphql-core raises in the same place.
    """
    coerce = type_.coerce_output_value

    def complete(value: Any) -> Any:  # noqa: ANN401 - whatever a resolver gave
        if isinstance(value, Exception):
            try:
                raise value
            finally:
                del value  # its traceback names this frame
        if value is None or value is Undefined:
            if null:
                return None
            raise TypeError(f"Cannot return null for non-nullable field {parent}.{field}.")
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise TypeError(
                f"Expected `{type_}.coerce_output_value({inspect(value)})` to return non-nullable"
                f" value, returned: {inspect(coerced)}"
            )
        return coerced

    return complete


def _enum(type_: GraphQLEnumType) -> Leaf:
    definition = type_.extensions.get("strawberry-definition")
    if not isinstance(definition, StrawberryEnumDefinition):
        raise Unsupported(f"enum {type_.name}")
    # By the member's value, which hashes faster than the member.
    members: Iterable[Enum] = definition.wrapped_cls
    names = {member.value: type_.coerce_output_value(member) for member in members}
    constants = {"kind": definition.wrapped_cls, "names": names}
    return Leaf("type({v}) is {kind}", "{names}[{v}._value_]", constants, definition.wrapped_cls)
