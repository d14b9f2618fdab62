"""Which operations are compiled, when, and what is kept of them."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, cast

import orjson
import pytest
from graphql import GraphQLNonNull, GraphQLString, get_operation_ast, parse

from api.domain.errors import NotFound
from api.gates.principal import Principal
from api.schema.build import build_schema
from api.schema.compiled import operations, writing
from api.schema.compiled.reading import Member, _Layouts
from api.schema.compiled.selection import Selection
from api.schema.compiled.unfit import Unfit
from api.schema.compiled.usual import Kinds
from api.schema.context import Context
from api.schema.execution import Executor, GraphQLRequest
from api.schema.services import Services

AT_US = 1_773_100_800_000_000
KEY = Principal("key", "k", frozenset({"check"}))
SCHEMA = build_schema()
FIVE_CONDITIONS = """
    query($a: Boolean!, $b: Boolean!, $c: Boolean!, $d: Boolean!, $e: Boolean!) {
        a: __typename @skip(if: $a) b: __typename @skip(if: $b) c: __typename @skip(if: $c)
        d: __typename @skip(if: $d) e: __typename @skip(if: $e)
    }
"""


async def ask(
    executor: Executor, query: str, variables: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the answer to a query that needs nothing of what stands behind the schema."""
    context = Context(cast("Services", None), KEY, AT_US)
    answer = await executor.execute(GraphQLRequest(query, variables=variables), context)
    body: dict[str, Any] = orjson.loads(answer.body)
    return body


@pytest.mark.parametrize(
    ("types", "usual"),
    [
        ((object, str, int), True),
        ((object, str, NoneType), True),
        ((object, NoneType, int), False),
        ((object, str, bool), False),
        ((NotFound, str, int), False),
    ],
)
def test_an_object_is_usual_by_its_types_and_never_an_error(
    types: tuple[type, ...],
    usual: bool,  # noqa: FBT001 - a column of the table
) -> None:
    kinds = Kinds([(str,), (int, NoneType)])
    assert [kinds[types], kinds[types]] == [usual, usual]


def test_of_inputs_only_orders_that_fit_are_kept() -> None:
    made: dict[str, Any] = {}

    def any_(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        raise Unfit(value)

    fields = [
        Member("a", "a", GraphQLNonNull(GraphQLString), required=True, default=str),
        Member("b", "b", GraphQLString, required=False, default=lambda: "none"),
    ]
    names = {"make": dict, "read0": any_, "read1": any_, "default1": fields[1].default}
    layouts = _Layouts("Some", fields, made | names, any_)
    for odd in ({"a": "1", "x" * 1000: 1}, {"b": "1"}, {}):
        with pytest.raises(Unfit):
            layouts[tuple(odd)](odd)
    assert not layouts
    assert layouts["b", "a"]({"b": "1", "a": "2"}) == {"a": "2", "b": "1"}
    assert layouts["a",]({"a": "2"}) == {"a": "2", "b": "none"}
    assert [*layouts] == [("b", "a"), ("a",)]


async def test_an_operation_is_compiled_at_its_second_use() -> None:
    executor = Executor(SCHEMA)
    taken = []
    for _ in range(3):
        assert await ask(executor, "{ __typename }") == {"data": {"__typename": "Query"}}
        taken.append((executor.roads.general, executor.roads.compiled))
    assert taken == [(1, 0), (1, 1), (1, 2)]


async def test_without_the_compiler_all_take_the_general_road() -> None:
    executor = Executor(SCHEMA, compiled=False)
    for _ in range(3):
        await ask(executor, "{ __typename }")
    assert (executor.roads.general, executor.roads.compiled) == (3, 0)


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Plan") { name } }',
        FIVE_CONDITIONS,
    ],
)
async def test_what_the_compiler_does_not_know_takes_the_general_road(query: str) -> None:
    executor = Executor(SCHEMA, uses=0)
    given = dict.fromkeys("abcde", False)
    for _ in range(2):
        assert "errors" not in await ask(executor, query, given)
    assert (executor.roads.general, executor.roads.compiled) == (2, 0)


async def test_variables_that_do_not_fit_are_refused_by_the_general_executor() -> None:
    executor = Executor(SCHEMA, uses=0)
    query = "query($n: Int!) { plans(first: $n) { __typename } }"
    refused = await ask(executor, query, {"n": "many"})
    assert "Int cannot represent non-integer value" in refused["errors"][0]["message"]
    refused = await ask(executor, query, {"n": None})
    assert "not to be None" in refused["errors"][0]["message"]
    assert (executor.roads.general, executor.roads.compiled) == (2, 0)


async def test_each_answer_to_a_condition_has_a_function_of_its_own() -> None:
    executor = Executor(SCHEMA, uses=0)
    query = "query($a: Boolean!) { b: __typename @include(if: $a) c: __typename }"
    for _ in range(2):
        assert list((await ask(executor, query, {"a": True}))["data"]) == ["b", "c"]
        assert list((await ask(executor, query, {"a": False}))["data"]) == ["c"]
    assert (executor.roads.general, executor.roads.compiled) == (0, 4)


async def test_functions_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    once = operations.Function.__init__

    def count(self: operations.Function, *given: Any) -> None:
        compiled.append(self)
        once(self, *given)

    monkeypatch.setattr(operations, "MOST_FUNCTIONS", 2)
    monkeypatch.setattr(operations.Function, "__init__", count)
    executor = Executor(SCHEMA, uses=0)
    for name in "abca":
        assert (await ask(executor, f"{{ {name}: __typename }}"))["data"] == {name: "Query"}
    assert len(compiled) == 4, "the first one made room for the third, and was compiled again"
    await ask(executor, "{ c: __typename }")
    assert len(compiled) == 4


async def test_what_unfolds_to_too_much_takes_the_general_road_once_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = []
    write = writing.Writer.write

    def count(self: writing.Writer) -> str:
        written.append(self)
        return write(self)

    monkeypatch.setattr(writing.Writer, "write", count)
    executor = Executor(SCHEMA, uses=0)
    query = f"{{ {' '.join(f'a{n}: plans {{ ...P }}' for n in range(40))} }}"
    query += "fragment P on PlanConnection { pageInfo { hasNextPage endCursor } edges { cursor } }"
    monkeypatch.setattr(writing, "MOST_BYTES", 10_000)
    for _ in range(3):
        await ask(executor, query)
    assert (executor.roads.general, executor.roads.compiled) == (3, 0)
    assert len(written) == 1, "what is too much is not tried again"


async def test_a_fragment_in_many_places_is_written_once() -> None:
    def source(aliases: int) -> int:
        document = parse(
            f"{{ {' '.join(f'a{n}: plans {{ ...A }}' for n in range(aliases))} }}"
            " fragment A on PlanConnection { edges { ...B } }"
            " fragment B on PlanEdge { node { ...C } }"
            " fragment C on Plan { id key name prices { key interval } features { value } }"
        )
        node = get_operation_ast(document)
        assert node is not None
        schema = SCHEMA._schema  # noqa: SLF001 - it has no public name
        selection = Selection(schema, document, node, {})
        return len(writing.Writer(selection, SCHEMA.config.name_converter).write())

    assert source(11) - source(10) < source(1) / 2


def test_resolvers_ask_nothing_of_info_but_its_context() -> None:
    asked = set()
    for type_ in SCHEMA._schema.type_map.values():  # noqa: SLF001 - it has no public name
        for field in getattr(type_, "fields", {}).values():
            own = field.extensions.get("strawberry-definition")
            if own is not None and own.base_resolver is not None:
                asked |= _attributes_of_info(own.base_resolver.wrapped_func)
    assert asked == {"context"}


def _attributes_of_info(resolver: Callable[..., object]) -> set[str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(resolver)))
    found = set()
    owners = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_info(node.value):
            found.add(node.attr)
        elif _is_info(node) and id(node) not in owners:
            found.add("info itself")
    return found


def _is_info(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "info"
