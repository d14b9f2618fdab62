"""The usual object: all its fields are leaves and attributes, of the types that most have.

Such an object is written after one look at all types together, instead of one at each. Any other
object, and one whose attribute raises, goes leaf by leaf, so that each error is told where it
belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from graphql import GraphQLNonNull
from graphql.type import GraphQLOutputType, is_leaf_type
from strawberry.types.field import StrawberryField

from api.schema.compiled.leaves import Leaf, leaf_of

MOST_KNOWN = 64


class Unusual(Exception):
    """An object is none of this kind."""


class Kinds(dict[tuple[type, ...], bool]):
    """Tells of the types of an object and its values whether they are usual; keeps the answers.

    An object that is an error is not: it is told as one. Each value has to be of its own kinds.
    """

    def __init__(self, allowed: Sequence[tuple[type, ...]]) -> None:
        super().__init__()
        self._allowed = allowed

    def __missing__(self, types: tuple[type, ...]) -> bool:
        """Look closer the first time."""
        of, *values = types
        usual = not issubclass(of, Exception) and all(
            type_ in kinds for type_, kinds in zip(values, self._allowed, strict=True)
        )
        if len(self) < MOST_KNOWN:
            self[types] = usual
        return usual


@dataclass(frozen=True, slots=True)
class PlainLeaf:
    """A leaf that is an attribute: what it is called, its kind, and whether it may be null."""

    attribute: str
    leaf: Leaf
    null: bool

    @property
    def kinds(self) -> tuple[type, ...]:
        """Return what types its value may have to be usual."""
        kind = self.leaf.kind
        assert kind is not None  # noqa: S101 - only such leaves are plain
        return (kind, NoneType) if self.null else (kind,)


def plain_leaf(own: StrawberryField, type_: GraphQLOutputType) -> PlainLeaf | None:
    """Return a field as such a leaf; None where it is none."""
    bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if own.base_resolver is not None or own.extensions or not is_leaf_type(bare):
        return None
    leaf = leaf_of(bare)
    if leaf.kind is None or not own.python_name.isidentifier():
        return None
    return PlainLeaf(own.python_name, leaf, null=not isinstance(type_, GraphQLNonNull))


def at_once(leaves: Mapping[str, PlainLeaf], constant: Callable[[str, Any], str]) -> list[str]:
    """Return the lines that return a usual object ``s``, its ``leaves`` by their response keys.

    They may raise any Exception, of one that is not.
    """
    values = {key: f"l{number}" for number, key in enumerate(leaves)}
    kinds = constant("kinds", Kinds([leaf.kinds for leaf in leaves.values()]))
    types = ", ".join(f"type({value})" for value in values.values())
    out = ", ".join(
        f"{key!r}: {_written(leaf, values[key], constant)}" for key, leaf in leaves.items()
    )
    return [
        *(f"{values[key]} = s.{leaf.attribute}" for key, leaf in leaves.items()),
        f"if {kinds}[type(s), {types}]:",
        f"    return {{{out}}}",
    ]


def _written(leaf: PlainLeaf, value: str, constant: Callable[[str, Any], str]) -> str:
    names = {key: constant(key, one) for key, one in leaf.leaf.constants.items()}
    text = leaf.leaf.written.format(v=value, **names)
    return text if text == value or not leaf.null else f"None if {value} is None else {text}"
