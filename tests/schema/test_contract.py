"""The schema keeps what others already build on: names, nullability, defaults, meaning."""

from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    print_ast,
)

from api.schema.sdl import FILE, sdl

CONTRACT = build_schema((Path(__file__).parent / "contract.graphql").read_text(encoding="utf-8"))
OURS = build_schema(sdl())
PROMISED = sorted(name for name in CONTRACT.type_map if not name.startswith("__"))


def facts(type_: GraphQLNamedType) -> dict[str, object]:
    """Return everything that somebody may build on, under a path that names it."""
    found: dict[str, object] = {type_.name: type(type_).__name__}
    if type_.description:
        found[f"{type_.name} means"] = type_.description
    if isinstance(type_, GraphQLEnumType):
        found |= {f"{type_.name}.{value}": True for value in type_.values}
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        found |= {f"{type_.name} is {one.name}": True for one in type_.interfaces}
        for name, field in type_.fields.items():
            found[f"{type_.name}.{name}"] = str(field.type)
            if field.description:
                found[f"{type_.name}.{name} means"] = field.description
            for arg, given in field.args.items():
                found[f"{type_.name}.{name}({arg})"] = str(given.type)
                found[f"{type_.name}.{name}({arg}) is usually"] = usual(given)
    if isinstance(type_, GraphQLInputObjectType):
        for name, given in type_.fields.items():
            found[f"{type_.name}.{name}"] = str(given.type)
            found[f"{type_.name}.{name} is usually"] = usual(given)
    return found


def usual(given: object) -> str | None:
    default = getattr(given, "default", None)
    literal = getattr(default, "literal", None)
    return None if literal is None else print_ast(literal)


def required(schema: GraphQLSchema, type_name: str) -> set[str]:
    """Return what a caller must give: more than the contract asks for would break one."""
    type_ = schema.type_map[type_name]
    found: set[str] = set()
    if isinstance(type_, GraphQLObjectType):
        for name, field in type_.fields.items():
            found |= {
                f"{name}({arg})"
                for arg, given in field.args.items()
                if str(given.type).endswith("!") and usual(given) is None
            }
    if isinstance(type_, GraphQLInputObjectType):
        found |= {
            name
            for name, given in type_.fields.items()
            if str(given.type).endswith("!") and usual(given) is None
        }
    return found


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_contract_says_is_what_the_schema_says(name: str) -> None:
    promised, kept = facts(CONTRACT.type_map[name]), facts(OURS.type_map[name])
    assert {path: kept.get(path) for path in promised} == promised


@pytest.mark.parametrize("name", ["Query", "Mutation", "Customer", "ConsumeInput", "ReleaseInput"])
def test_nothing_more_must_be_given_than_the_contract_asks_for(name: str) -> None:
    contract = CONTRACT.type_map[name]
    theirs = required(CONTRACT, name)
    ours = {
        path
        for path in required(OURS, name)
        if not isinstance(contract, GraphQLObjectType) or path.split("(")[0] in contract.fields
    }
    assert ours == theirs


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    assert FILE.read_text(encoding="utf-8") == sdl(), "run: python -m api.schema.sdl"
