"""Text that no store can hold, and numbers that no type can: told as such, never as a bug."""

import json

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    get_named_type,
)

from api.schema.sdl import sdl
from tests.support.graphql import Api

SCHEMA = build_schema(sdl())
STRANGE = [
    "",
    "\x00",
    "a\x00b",
    "\x7f",
    "🙂" * 100,
    "x" * 20_000,
    "' or 1=1 --",
    "%s",
    "\u202e",
    "-1",
]


def roots() -> list[tuple[str, str, GraphQLField]]:
    found = []
    for operation, type_ in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert isinstance(type_, GraphQLObjectType)
        found += [(operation, name, field) for name, field in type_.fields.items()]
    return found


def value_of(type_: object, text: str, customer: str) -> object:
    """Return something of this type, with ``text`` wherever there is room for text."""
    if isinstance(type_, GraphQLNonNull):
        return value_of(type_.of_type, text, customer)
    if isinstance(type_, GraphQLList):
        return [value_of(type_.of_type, text, customer)]
    if isinstance(type_, GraphQLInputObjectType):
        return {
            name: customer if name == "customer" else value_of(one.type, text, customer)
            for name, one in type_.fields.items()
        }
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    known: dict[str, object] = {
        "Units": 1,
        "Int": 1,
        "Boolean": True,
        "DateTime": "2026-04-01T00:00:00Z",
    }
    return known.get(str(type_), text)


def document(operation: str, name: str, field: GraphQLField) -> str:
    variables = ", ".join(f"${arg}: {one.type}" for arg, one in field.args.items())
    given = ", ".join(f"{arg}: ${arg}" for arg in field.args)
    inner = "" if str(get_named_type(field.type)) == "Int" else "{ __typename }"
    head = f"{operation} ({variables})" if variables else operation
    return f"{head} {{ {name}{f'({given})' if given else ''} {inner} }}"


async def test_no_text_makes_a_bug(api: Api, subtests: pytest.Subtests) -> None:
    for operation, name, field in roots():
        for text in STRANGE:
            variables = {
                arg: text if arg == "key" else value_of(one.type, text, text)
                for arg, one in field.args.items()
            }
            with subtests.test(name, text=text[:10]):
                query = document(operation, name, field)
                answer = await api.send({"query": query, "variables": variables})
                codes = [one["extensions"]["code"] for one in answer.get("errors", [])]
                assert "INTERNAL" not in codes, answer


async def test_each_argument_alone_makes_no_bug(api: Api, subtests: pytest.Subtests) -> None:
    """Where one refuses, none hides behind it."""
    for operation, name, field in roots():
        for arg, one in field.args.items():
            for text in STRANGE:
                variables = {
                    other: "acme" if other in ("customer", "key") else value_of(a.type, "x", "acme")
                    for other, a in field.args.items()
                    if isinstance(a.type, GraphQLNonNull)
                }
                variables[arg] = value_of(one.type, text, "acme")
                with subtests.test(f"{name}({arg})", text=text[:10]):
                    query = document(operation, name, field)
                    answer = await api.send({"query": query, "variables": variables})
                    codes = [e["extensions"]["code"] for e in answer.get("errors", [])]
                    assert "INTERNAL" not in codes, answer


@pytest.mark.parametrize(
    "literal",
    [
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u{d800}"',
        '"\\u{110000}"',
        '"""\x00"""',
        "9" * 5000,
        "-" + "9" * 5000,
        "1e999999",
        "1" + "0" * 400 + ".5",
        "{" * 100 + "}" * 100,
        "[" * 100 + "]" * 100,
        "$nothing",
        "null",
        "ENUM",
    ],
)
async def test_no_literal_makes_a_bug(api: Api, literal: str) -> None:
    for place in (
        "{ plan(key: %s) { key } }",
        "{ plans(first: %s) { edges { cursor } } }",
        '{ check(customer: "acme", feature: "calls", units: %s) { status } }',
        """mutation { setOverride(reason: "x", input: {
          customer: "acme", feature: "support", value: %s
        }) { value } }""",
        '{ customer(key: "acme") { usage(feature: "calls", from: %s) { units } } }',
    ):
        response = await api.http.post(
            "/graphql",
            content=json.dumps({"query": place.replace("%s", literal)}),
            headers={"Authorization": f"Bearer {api.admin}", "Content-Type": "application/json"},
        )
        answer = response.json()
        codes = [one["extensions"]["code"] for one in answer.get("errors", [])]
        assert "INTERNAL" not in codes, answer
