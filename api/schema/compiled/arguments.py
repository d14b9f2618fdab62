"""Variables and literals: what the fields of an operation are given.

All of it is made before the first resolver runs. What does not fit is left to the general
executor, which then refuses as the specification says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    Undefined,
    ValueNode,
    VariableNode,
    type_from_ast,
)
from graphql.type import is_input_type
from graphql.utilities import coerce_input_literal
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.schema.name_converter import NameConverter
from strawberry.types.field import StrawberryField

from api.schema.compiled.reading import MISSING, Reader, constant, members, reader
from api.schema.compiled.unfit import Unfit, Unsupported

Values: TypeAlias = Mapping[str, Any]
"""The variables of one request, as resolvers get them; one that was not given is not there."""

_Maker: TypeAlias = Callable[[Values], Any]
"""Makes one value of the variables; ``MISSING``: there is none. It raises: Unfit."""


class Variables:
    """Reads the variables of one operation. Raises: Unsupported."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._plan: list[tuple[str, Reader, Callable[[], Any] | None, bool]] = []
        self.only: tuple[str, Reader] | None = None
        """Its name and what reads it, where there is but one and that must be given."""
        for definition in operation.variable_definitions or ():
            type_ = type_from_ast(schema, definition.type)
            if not is_input_type(type_):
                raise Unsupported("a variable of an unknown type")
            default = None
            if definition.default_value is not None:
                coerced = coerce_input_literal(definition.default_value, type_)
                if coerced is Undefined:
                    raise Unsupported("a default that does not fit")
                default = constant(type_, coerced)
            required = isinstance(type_, GraphQLNonNull) and default is None
            name = definition.variable.name.value
            self._plan.append((name, reader(type_), default, required))
        if len(self._plan) == 1 and self._plan[0][3]:
            self.only = self._plan[0][:2]

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the variables. Raises: Unfit."""
        values = {}
        for name, read, default, required in self._plan:
            value = given.get(name, MISSING)
            if value is not MISSING:
                values[name] = read(value)
            elif default is not None:
                values[name] = default()
            elif required:
                raise Unfit
        return values


class Arguments:
    """Makes the keywords of one field's resolver. Raises: Unsupported."""

    def __init__(
        self, definition: GraphQLField, own: StrawberryField, node: FieldNode, names: NameConverter
    ) -> None:
        keywords = {names.from_argument(one): one.python_name for one in own.arguments}
        given = {one.name.value: one.value for one in node.arguments or ()}
        self._plan: list[tuple[str, _Maker, Callable[[], Any] | None]] = []
        self.only: tuple[str, str] | None = None
        """The keyword and the variable that is its value, where there is but one and it is that."""
        sometimes = False  # a variable that was left out, where no default takes its place
        for name, argument in definition.args.items():
            default = coerce_default_value(argument)
            fallback = None if default is Undefined else constant(argument.type, default)
            if name in given:
                make = maker(argument.type, given[name])
            elif fallback is not None:
                make, fallback = _fixed(fallback), None
            elif isinstance(argument.type, GraphQLNonNull):
                raise Unsupported("a required argument that is not there")
            else:
                continue
            self._plan.append((keywords[name], make, fallback))
            value = given.get(name)
            if isinstance(value, VariableNode) and fallback is None:
                self.only = (keywords[name], value.name.value)
                sometimes = sometimes or not isinstance(argument.type, GraphQLNonNull)
        if len(self._plan) != 1:
            self.only = None
        self.always: list[str] | None = None if sometimes else [one[0] for one in self._plan]
        """The keywords, where each is there whatever is given."""
        self.fixed = not any(_variables(value) for value in given.values())

    def make(self, values: Values) -> dict[str, Any]:
        """Return the keywords. Raises: Unfit."""
        made = {}
        for keyword, make, fallback in self._plan:
            value = make(values)
            if value is not MISSING:
                made[keyword] = value
            elif fallback is not None:
                made[keyword] = fallback()
        return made


def maker(type_: GraphQLInputType, node: ValueNode) -> _Maker:
    """Return what makes the value of ``node`` in a position of ``type_``. Raises: Unsupported."""
    if isinstance(node, VariableNode):
        return _variable(node.name.value, null=not isinstance(type_, GraphQLNonNull))
    if not _variables(node):
        coerced = coerce_input_literal(node, type_)
        if coerced is Undefined:
            raise Unsupported("a literal that does not fit")
        return _fixed(constant(type_, coerced))
    bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if isinstance(bare, GraphQLList):
        return _list(bare.of_type, node)
    if isinstance(bare, GraphQLInputObjectType) and isinstance(node, ObjectValueNode):
        return _object(bare, node)
    raise Unsupported("variables within a scalar")


def _fixed(make: Callable[[], Any]) -> _Maker:
    return lambda _: make()


def _variable(name: str, *, null: bool) -> _Maker:
    def make(values: Values) -> Any:  # noqa: ANN401 - any value
        value = values.get(name, MISSING)
        # A variable that may be null stands where null is refused, thanks to a default of either.
        if value is None and not null:
            raise Unfit
        return value

    return make


def _list(type_: GraphQLInputType, node: ValueNode) -> _Maker:
    nodes: Sequence[ValueNode] = node.values if isinstance(node, ListValueNode) else (node,)
    null = not isinstance(type_, GraphQLNonNull)
    makers = [maker(type_, one) for one in nodes]

    def make(values: Values) -> Any:  # noqa: ANN401 - a list
        items = [make_item(values) for make_item in makers]
        if any(item is MISSING for item in items):
            if not null:
                raise Unfit
            return [None if item is MISSING else item for item in items]
        return items

    return make


def _object(type_: GraphQLInputObjectType, node: ObjectValueNode) -> _Maker:
    class_, fields = members(type_)
    given = {one.name.value: one.value for one in node.fields}
    plan = [
        (
            m.keyword,
            maker(m.type, given[m.name]) if m.name in given else None,
            m.required,
            m.default,
        )
        for m in fields
    ]

    def make(values: Values) -> Any:  # noqa: ANN401 - an object of that class
        keywords = {}
        for keyword, make_field, required, default in plan:
            value = MISSING if make_field is None else make_field(values)
            if value is not MISSING:
                keywords[keyword] = value
            elif required:
                raise Unfit
            else:
                keywords[keyword] = default()
        return class_(**keywords)

    return make


def _variables(node: ValueNode) -> bool:
    """Tell whether ``node`` holds a variable."""
    if isinstance(node, VariableNode):
        return True
    if isinstance(node, ListValueNode):
        return any(_variables(one) for one in node.values)
    if isinstance(node, ObjectValueNode):
        return any(_variables(one.value) for one in node.fields)
    return False
