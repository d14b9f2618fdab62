"""Which object type a value is of, where the schema leaves it open, and whether it is that.

The class of a value answers; whatever has another is put before graphql-core, which decides or
refuses it as it always does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from graphql import (
    FieldNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    default_type_resolver,
)
from graphql.execution.executor import Executor, invalid_return_type_error
from graphql.pyutils import is_awaitable, is_iterable

from api.schema.compiled.selection import Selected
from api.schema.compiled.unfit import Unsupported

_BACKREF = "strawberry-definition"


def class_of(type_: GraphQLObjectType) -> type:
    """Return the class whose objects are of ``type_``. Raises: Unsupported."""
    definition = type_.extensions.get(_BACKREF)
    if definition is None:
        raise Unsupported(f"objects of {type_.name}")
    origin: type = definition.origin
    return origin


def expecting(
    schema: GraphQLSchema, type_: GraphQLObjectType, field: Selected
) -> Callable[[Any], None]:
    """Return what lets values of ``type_`` pass. It raises: GraphQLError."""
    is_type_of = type_.is_type_of
    info = _info(schema, None, field)

    def expect(value: Any) -> None:  # noqa: ANN401 - whatever a resolver gave
        if is_type_of is not None and not is_type_of(value, info):
            raise invalid_return_type_error(type_, value, field.details)

    return expect


def naming(
    schema: GraphQLSchema, type_: GraphQLAbstractType, parent: GraphQLObjectType, field: Selected
) -> Callable[[Any], str]:
    """Return what tells the name of a value's object type. It raises: GraphQLError."""
    names = {class_of(one): one.name for one in schema.get_possible_types(type_)}
    resolve: Callable[..., Any] = type_.resolve_type or default_type_resolver
    info = _info(schema, parent, field)
    executor: Any = SimpleNamespace(schema=schema)

    def name(value: Any) -> str:  # noqa: ANN401 - whatever a resolver gave
        known = names.get(type(value))
        if known is not None:
            return known
        runtime = Executor.ensure_valid_runtime_type(
            executor, resolve(value, info, type_), type_, field.details, info, value
        )
        if runtime.is_type_of is not None and not runtime.is_type_of(value, info):
            raise invalid_return_type_error(runtime, value, field.details)
        return runtime.name

    return name


def iterated(value: Any, where: str) -> Iterable[Any]:  # noqa: ANN401 - whatever a resolver gave
    """Return the items of a list that is neither a list nor a tuple. Raises: GraphQLError."""
    if not is_iterable(value):
        raise GraphQLError(f"Expected Iterable, but did not find one for field '{where}'.")
    return list(value)


def _info(schema: GraphQLSchema, parent: GraphQLObjectType | None, field: Selected) -> Any:  # noqa: ANN401 - stands for graphql-core's own
    nodes: list[FieldNode] = field.nodes
    return SimpleNamespace(
        schema=schema,
        parent_type=parent,
        field_name=field.name,
        field_nodes=nodes,
        is_awaitable=is_awaitable,
    )
