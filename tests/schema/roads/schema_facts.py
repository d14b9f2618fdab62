"""What whoever writes documents must know of the schema's types."""

from __future__ import annotations

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
)


def is_composite(found: GraphQLField) -> bool:
    """Tell whether something must be selected of what a field gives."""
    return is_composite_type(get_named_type(found.type))


def ambiguous_fields(schema: GraphQLSchema) -> frozenset[str]:
    """Return fields that must not stand under their own name beside those of another type.

    Types that one place can hold may share a name for fields of different shape.
    """
    found: set[str] = set()
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLInterfaceType):
            continue
        types = schema.get_implementations(type_).objects
        shapes: dict[str, set[str]] = {}
        for one in types:
            for name, own in one.fields.items():
                shapes.setdefault(name, set()).add(f"{own.type}{sorted(own.args)}")
        found |= {
            f"{one.name}.{name}" for one in types for name in one.fields if len(shapes[name]) > 1
        }
    return frozenset(found)


def live_types(schema: GraphQLSchema) -> frozenset[str]:
    """Return the types below which some field has a resolver of its own."""
    composite = [
        one
        for one in schema.type_map.values()
        if isinstance(one, (GraphQLObjectType, GraphQLInterfaceType))
        and "strawberry-definition" in one.extensions
    ]
    live: set[str] = set()
    before = -1
    while len(live) > before:
        before = len(live)
        for type_ in composite:
            definition = type_.extensions["strawberry-definition"]
            if (
                any(one.base_resolver is not None for one in definition.fields)
                or any(get_named_type(one.type).name in live for one in type_.fields.values())
                or (isinstance(type_, GraphQLInterfaceType))
            ):
                live.add(type_.name)
    return frozenset(live)
