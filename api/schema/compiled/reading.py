"""From what JSON or a document holds to what a resolver gets, in one step.

graphql-core coerces an input value, and strawberry then makes its own objects of it. Here both are
one function for each type. Whatever does not fit raises ``Unfit``: nothing was executed yet, so
the general executor may say what is wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
    Undefined,
)
from graphql.type import is_leaf_type
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.types.base import StrawberryMaybe, StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.domain.catalog import MAX_UNITS
from api.schema.compiled.unfit import Unfit, Unsupported
from api.schema.scalars import parse_units

Reader: TypeAlias = Callable[[Any], Any]

MISSING: Any = object()
MOST_LAYOUTS = 64
_BACKREF = "strawberry-definition"


def reader(type_: GraphQLInputType) -> Reader:
    """Return what makes a resolver's value of a JSON value. It raises: Unfit.

    Raises: Unsupported.
    """
    if isinstance(type_, GraphQLNonNull):
        bare = type_.of_type
        # A list of inputs may be long, and the reader of an object refuses null by itself.
        return (
            _object(bare) if isinstance(bare, GraphQLInputObjectType) else _not_null(reader(bare))
        )
    if isinstance(type_, GraphQLList):
        return _or_null(_list(reader(type_.of_type)))
    if isinstance(type_, GraphQLInputObjectType):
        return _or_null(_object(type_))
    return _or_null(_leaf(type_))


def finisher(type_: GraphQLInputType) -> Reader | None:
    """Return what makes a resolver's value of one that graphql-core has coerced; None: it is that.

    Raises: Unsupported.
    """
    if isinstance(type_, GraphQLNonNull):
        return finisher(type_.of_type)
    if isinstance(type_, GraphQLList):
        inner = finisher(type_.of_type)
        if inner is None:
            return lambda value: None if value is None else list(value)
        return lambda value: None if value is None else [inner(item) for item in value]
    if isinstance(type_, GraphQLInputObjectType):
        return _or_null(_finished(type_))
    return None


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One field of an input object, and the keyword under which its class takes it.

    ``default`` gives the value where none is given and none is required.
    """

    name: str
    keyword: str
    type: GraphQLInputType
    required: bool
    default: Callable[[], Any]


def members(type_: GraphQLInputObjectType) -> tuple[type, list[Member]]:
    """Return the class of an input object and its fields. Raises: Unsupported."""
    definition = type_.extensions.get(_BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or type_.is_one_of:
        raise Unsupported(f"input {type_.name}")
    if definition.from_input is not None:
        raise Unsupported(f"input {type_.name}: it makes its own objects")
    found = []
    for name, field in type_.fields.items():
        own = field.extensions.get(_BACKREF)
        if not isinstance(own, StrawberryField) or isinstance(own.type, StrawberryMaybe):
            raise Unsupported(f"input {type_.name}.{name}")
        default = coerce_default_value(field)
        required = isinstance(field.type, GraphQLNonNull) and default is Undefined
        found.append(
            Member(name, own.python_name, field.type, required, _default(field.type, default, own))
        )
    return definition.origin, found


def constant(type_: GraphQLInputType, coerced: Any) -> Callable[[], Any]:  # noqa: ANN401 - any value
    """Return what gives the resolver's value of a coerced one, made anew where it can change."""
    finish = finisher(type_)
    if finish is None or coerced is None:
        return lambda: coerced
    return lambda: finish(coerced)


def _default(
    type_: GraphQLInputType,
    coerced: Any,  # noqa: ANN401 - any default
    own: StrawberryField,
) -> Callable[[], Any]:
    if coerced is not Undefined:
        return constant(type_, coerced)
    if own.default_factory is not dataclasses.MISSING:
        factory: Callable[[], Any] = own.default_factory
        return factory
    value = None if own.default is dataclasses.MISSING else own.default
    return lambda: value


def _leaf(type_: GraphQLInputType) -> Reader:
    if type_ is GraphQLString:
        return _string
    if type_ is GraphQLBoolean:
        return _boolean
    if not is_leaf_type(type_):
        raise Unsupported(f"input {type_}")
    coerce = type_.coerce_input_value

    def read(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        try:
            coerced = coerce(value)
        except Exception as error:  # graphql-core takes any error of a scalar for a refusal
            raise Unfit from error
        if coerced is Undefined:
            raise Unfit
        return coerced

    return read


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Unfit


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise Unfit


def _list(read: Reader) -> Reader:
    def read_all(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
        # A value that is no list stands for a list of one.
        return [read(item) for item in (value if isinstance(value, list) else (value,))]

    return read_all


def _object(type_: GraphQLInputObjectType) -> Reader:
    """Return a function written for the fields of this type: most of what a request sends is one.

    The source is made of numbers and of keywords that are parameters in this code.
    """
    class_, fields = members(type_)
    names: dict[str, Any] = {"Unfit": Unfit, "MISSING": MISSING, "make": class_}
    lines = ["if type(value) is not dict:", "    raise Unfit", "get, left = value.get, len(value)"]
    given = []
    for n, member in enumerate(fields):
        names[f"name{n}"], names[f"read{n}"] = member.name, reader(member.type)
        usual = _usual(member.type, "v")
        lines += [
            f"v = get(name{n}, MISSING)",
            "if v is not MISSING:",
            "    left -= 1",
            f"    v = v if {usual} else read{n}(v)" if usual else f"    v = read{n}(v)",
        ]
        if member.required:
            lines += ["else:", "    raise Unfit"]
        else:
            names[f"default{n}"] = member.default
            lines += ["else:", f"    v = default{n}()"]
        lines.append(f"v{n} = v")
        given.append(f"{member.keyword}=v{n}")
    lines += [
        "if left:",
        "    raise Unfit",  # it has a field that the type does not have
        f"return make({', '.join(given)})",
    ]
    any_ = _function(type_.name, lines, names)
    layouts = _Layouts(type_.name, fields, names, any_)

    def read(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if type(value) is not dict:
            raise Unfit
        return layouts[tuple(value)](value)

    return read


class _Layouts(dict[tuple[str, ...], Reader]):
    """Functions for the orders in which the fields of one type come; any other has ``any_``.

    One program sends its fields in one order, so nothing needs to be looked for.
    """

    def __init__(
        self, type_: str, fields: list[Member], names: Mapping[str, Any], any_: Reader
    ) -> None:
        super().__init__()
        self._type = type_
        self._fields = fields
        self._names = names
        self._any = any_

    def __missing__(self, keys: tuple[str, ...]) -> Reader:
        """Write the function of an order that was not seen yet."""
        fields = {member.name for member in self._fields}
        required = {member.name for member in self._fields if member.required}
        # What does not fit is not kept: anybody may send it, in any length.
        if not keys or not required <= set(keys) <= fields or len(self) >= MOST_LAYOUTS:
            return self._any
        self[keys] = self._written(keys)
        return self[keys]

    def _written(self, keys: tuple[str, ...]) -> Reader:
        lines, usual, given = [], [], []
        for n, member in enumerate(self._fields):
            if member.name not in keys:
                given.append(f"{member.keyword}=default{n}()")
                continue
            test = _usual(member.type, f"v{n}")
            given.append(f"{member.keyword}=v{n}")
            if test:
                usual.append(test)
            else:
                lines.append(f"v{n} = read{n}(v{n})")
        places = {member.name: f"v{n}" for n, member in enumerate(self._fields)}
        make = f"return make({', '.join(given)})"
        lines = [
            f"{', '.join(places[key] for key in keys)}, = value.values()",
            *([f"if not ({' and '.join(usual)}):", "    return any_(value)"] if usual else []),
            *lines,
            make,
        ]
        return _function(self._type, lines, {**self._names, "any_": self._any})


def _function(type_: str, lines: Sequence[str], names: dict[str, Any]) -> Reader:
    source = "\n".join(["def read(value):", *(f"    {line}" for line in lines)])
    exec(compile(source, f"<input {type_}>", "exec"), names)  # noqa: S102 - as said
    read: Reader = names["read"]
    return read


def _usual(type_: GraphQLInputType, v: str) -> str:
    """Return what tells that the value ``v`` is what a resolver gets; empty: it has to be read."""
    bare = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if bare is GraphQLString:
        return f"type({v}) is str"
    if is_leaf_type(bare) and bare.coerce_input_value is parse_units:
        return f"type({v}) is int and 0 <= {v} <= {MAX_UNITS}"
    return ""


def _finished(type_: GraphQLInputObjectType) -> Callable[[Mapping[str, Any]], Any]:
    class_, fields = members(type_)
    plan = [(m.name, m.keyword, finisher(m.type), m.default) for m in fields]

    def finish(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an object of that class
        given = {}
        for name, keyword, finish_field, default in plan:
            if name in value:
                field = value[name]
                given[keyword] = field if finish_field is None else finish_field(field)
            else:
                given[keyword] = default()
        return class_(**given)

    return finish


def _not_null(read: Reader) -> Reader:
    def read_some(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if value is None:
            raise Unfit
        return read(value)

    return read_some


def _or_null(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)
