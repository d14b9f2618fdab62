"""One selected field's position: what it is called, and what it does about an error.

Follows graphql-core's ``Executor``: a position that may be null notes the error and is null; any
other raises it, located, to the one above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphql import GraphQLNonNull, GraphQLObjectType
from graphql.type import GraphQLOutputType, is_leaf_type
from strawberry.types.field import StrawberryField

from api.schema.compiled.selection import Selected


@dataclass(frozen=True, slots=True)
class Place:
    """One selected field of one type, and the constant that locates its errors."""

    parent: GraphQLObjectType
    field: Selected
    own: StrawberryField
    site: str

    @property
    def type(self) -> GraphQLOutputType:
        """Its type."""
        return self.field.definition.type

    @property
    def path(self) -> str:
        """The expression of its path."""
        return f"(path, {self.field.key!r})"

    @property
    def words(self) -> str:
        """What messages call it."""
        return f"{self.parent.name}.{self.field.name}"


def awaiting(body: list[str], out: str, waits: Sequence[tuple[str, str]]) -> list[str]:
    """Return the body of an object's function of which some fields may have to be waited for."""
    results = ", ".join(result for _, result in waits)
    pairs = ", ".join(f"({key!r}, {result})" for key, result in waits)
    return [
        *(f"{result} = None" for _, result in waits),
        "try:",
        *indented(body),
        "except BaseException:",
        f"    settle([c for c in ({results},) if type(c) is Waits])",
        "    raise",
        f"out = {out}",
        f"waits = [w for w in ({pairs},) if type(w[1]) is Waits]",
        "return out if not waits else join(out, [w[0] for w in waits], [w[1] for w in waits])",
    ]


def excepting(
    place: Place, type_: GraphQLOutputType, path: str, value: str, null: str
) -> list[str]:
    """Return what a position of ``type_`` does about an error, which ``value`` may itself be."""
    lines = ["except Exception as e:", f"    {value} = None"]  # its traceback names this frame
    if isinstance(type_, GraphQLNonNull):
        return [*lines, f"    raise located(e, {place.site}, {path}) from None"]
    return [*lines, f"    run.add(e, {place.site}, {path})", f"    {null}"]


def guarded(place: Place, type_: GraphQLOutputType, result: str, path: str) -> list[str]:
    """Return what makes a position do about a later error what it does about one now."""
    if isinstance(type_, GraphQLNonNull):
        later = f"or_raise({result}, {place.site}, {path})"
    else:
        later = f"or_null(run, {result}, {place.site}, {path})"
    return [f"if type({result}) is Waits:", f"    {result} = {later}"]


def needs_path(type_: GraphQLOutputType) -> bool:
    """Tell whether what completes ``type_`` asks for its path: a leaf tells of itself at most."""
    bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    return not is_leaf_type(bare)


def indented(lines: Sequence[str]) -> list[str]:
    """Return ``lines`` one level deeper."""
    return [f"    {line}" for line in lines]
