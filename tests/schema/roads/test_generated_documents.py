"""What is generated reaches the whole schema, and is valid where it is meant to be."""

from collections import Counter
from random import Random

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, parse, validate

from api.schema.build import build_schema
from tests.schema.roads.documents import DocumentWriter

DOCUMENTS = 2_000
"""About as many as are written for all chunks together."""


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema()._schema  # noqa: SLF001 - it has no public name


def test_nearly_every_field_and_argument_is_asked_for(schema: GraphQLSchema) -> None:
    asked: Counter[str] = Counter()
    writer = DocumentWriter(schema, asked)
    for seed in range(DOCUMENTS):
        writer.write(Random(seed))  # noqa: S311 - chances, no secrets
    wanted = {
        f"{type_.name}.{name}{argument}"
        for type_ in schema.type_map.values()
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType))
        if not type_.name.startswith("__")
        for name, field in type_.fields.items()
        for argument in ("", *(f"({one})" for one in field.args))
    }
    missing = wanted - set(asked)
    assert len(missing) <= len(wanted) // 50, missing


def test_documents_are_valid(schema: GraphQLSchema) -> None:
    writer = DocumentWriter(schema)
    for seed in range(150):
        document = writer.write(Random(seed))  # noqa: S311 - likewise
        assert not validate(schema, parse(document.text)), document.text


def test_a_seed_writes_the_same_again(schema: GraphQLSchema) -> None:
    def written() -> list[str]:
        writer = DocumentWriter(schema)
        return [writer.write(Random(seed)).text for seed in range(20)]  # noqa: S311 - likewise

    assert written() == written()
