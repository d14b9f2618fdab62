"""The comparison finds what it is there to find: each fault planted in the compiled road."""

from collections.abc import Callable
from typing import Any

import pytest
from graphql import GraphQLOutputType, GraphQLString

from api.schema.compiled import (
    arguments,
    leaves,
    operations,
    positions,
    reading,
    running,
    usual,
    writing,
)
from api.schema.compiled.leaves import Leaf
from api.schema.compiled.running import Run, Site
from tests.schema.roads.journey import journey

Plant = Callable[[pytest.MonkeyPatch], None]

MOST_CASES = 2_000


def texts_in_upper_case(patch: pytest.MonkeyPatch) -> None:
    upper = Leaf("type({v}) is str", "{v}.upper()")
    patch.setitem(leaves._KNOWN, GraphQLString.name, upper)  # noqa: SLF001 - to break it


def errors_that_stop_at_once(patch: pytest.MonkeyPatch) -> None:
    handle = positions.excepting

    def nullable(place: Any, type_: GraphQLOutputType, *rest: str) -> list[str]:  # noqa: ANN401
        return handle(place, getattr(type_, "of_type", type_), *rest)

    patch.setattr(writing, "excepting", nullable)


def objects_usual_whatever_they_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(usual.Kinds, "__missing__", lambda *_: True)


def fields_of_inputs_in_another_order(patch: pytest.MonkeyPatch) -> None:
    missing = reading._Layouts.__missing__  # noqa: SLF001 - likewise

    def turned(self: Any, keys: tuple[str, ...]) -> Any:  # noqa: ANN401
        return missing(self, keys[::-1])

    patch.setattr(reading._Layouts, "__missing__", turned)  # noqa: SLF001 - likewise


def fields_of_inputs_of_any_kind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "_usual", lambda *_: "True")


def errors_below_what_is_null(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Run, "_becomes_null", lambda *_: True)


def one_location_of_several(patch: pytest.MonkeyPatch) -> None:
    begin = Site.__init__
    patch.setattr(Site, "__init__", lambda self, nodes: begin(self, nodes[:1]))


def paths_turned_round(patch: pytest.MonkeyPatch) -> None:
    keys = running._keys  # noqa: SLF001 - likewise
    patch.setattr(running, "_keys", lambda path: keys(path)[::-1])


def rules_of_access_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writing.Writer, "_guards", lambda *_: [])


def defaults_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(arguments, "coerce_default_value", lambda _: None)


def variables_taken_as_they_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(arguments, "reader", lambda _: lambda value: value)


def names_of_the_wrong_operation(patch: pytest.MonkeyPatch) -> None:
    asked = operations.Compiler._asked  # noqa: SLF001 - likewise

    def first(self: Any, operation: Any) -> bool:  # noqa: ANN401
        operation.node = next(
            one for one in operation.document.definitions if one.kind == "operation_definition"
        )
        return asked(self, operation)

    patch.setattr(operations.Compiler, "_asked", first)


def conditions_turned_round(patch: pytest.MonkeyPatch) -> None:
    answers = operations._answers  # noqa: SLF001 - likewise

    def other(names: list[str], values: Any) -> tuple[bool, ...]:  # noqa: ANN401
        return tuple(not one for one in answers(names, values))

    patch.setattr(operations, "_answers", other)


def fields_one_after_the_other(patch: pytest.MonkeyPatch) -> None:
    async def join(out: Any, keys: Any, owed: Any) -> object:  # noqa: ANN401
        for key, one in zip(keys, owed.all, strict=True):
            out[key] = await one
        return out

    patch.setattr(running, "_join", join)


def siblings_that_go_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(running, "_cancel", lambda _: None)


FAULTS: tuple[Plant, ...] = (
    texts_in_upper_case,
    errors_that_stop_at_once,
    objects_usual_whatever_they_hold,
    fields_of_inputs_in_another_order,
    fields_of_inputs_of_any_kind,
    errors_below_what_is_null,
    one_location_of_several,
    paths_turned_round,
    rules_of_access_forgotten,
    defaults_forgotten,
    variables_taken_as_they_come,
    names_of_the_wrong_operation,
    conditions_turned_round,
    fields_one_after_the_other,
    siblings_that_go_on,
)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_fault_of_the_compiled_road_is_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with journey() as both:
        met, found = both.go(0, MOST_CASES)
    assert found is not None, met
