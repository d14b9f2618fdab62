"""What resolvers and attributes give: values of every output type, and what goes wrong with them.

Everything follows from the seed of a case and the place where it is asked for, so both roads meet
the same, in whatever order they ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
)

from api.catalog.problems import CatalogError, Problem
from api.domain import errors
from api.domain.catalog import WindowKind
from api.domain.decision import Decision, WindowFigure
from api.gates.outcome import Denied
from api.schema.errors import Refused

_TEXTS = ("", "acme", 'quo"te\\ /', "Ünïcode ☃ 😀\n\t", "\x00\x1f\x7f\u2028", "a" * 300)
_AT = datetime(2026, 3, 10, 10, 0, 0, 123000, tzinfo=UTC)
_RIGHT: dict[str, tuple[Any, ...]] = {
    "String": _TEXTS,
    "ID": (*_TEXTS, 7, -1),
    "Int": (0, 1, -1, 404, 2**31 - 1, -(2**31)),
    "Float": (0.0, -2.5, 1e21, 0.1, 3, 1e-9),
    "Boolean": (True, False),
    "Units": (0, 1, 12, 2**53 - 1),
    "SignedUnits": (0, 1, -12, 1 - 2**53),
    "DateTime": (_AT, _AT.replace(microsecond=0), datetime(1, 1, 1, tzinfo=UTC)),
    "Date": (date(2026, 2, 28), date(1, 1, 1)),
    "JSON": (1, 1.5, "ü", True, [], {}, {"b": [1, {"a": None}], "a": "x"}, [[None, "\u2028"]]),
}
_WRONG: tuple[Any, ...] = (
    *(True, False, 0, 1, 7, -1, 2**31, 2**53, 1.0, 1.5, float("inf"), float("nan"), "", "7", "x"),
    *("2026-03-10", "DAY", "day", b"bytes", [], ["x"], (), {}, {"key": 1}, object, frozenset({1})),
    *(_AT, _AT.replace(tzinfo=None), date(2026, 1, 2), WindowKind.DAY),
)
_NEAR: dict[str, tuple[Any, ...]] = {
    "String": (True, 0, 1.5, b"bytes", ["x"], {}),
    "ID": (1.0, 1.5, True, b"bytes", ["x"]),
    "Int": (2**31, -(2**31) - 1, 2**31, 2**53, 3.0, 1.5, True, "7", "x", ""),
    "Float": (True, "1.5", "x", "", 2**70, float("inf"), float("nan")),
    "Boolean": (0, 1, 2, 0.0, 1.5, "true", float("nan")),
    "Units": (1.5, "12", "x", True, float("inf"), 2**63, None),
    "SignedUnits": (1.5, "-12", "x", True, -(2**63)),
    "DateTime": (_AT.replace(tzinfo=None), date(2026, 1, 2), "2026-03-10T10:00:00Z", 0),
    "Date": (_AT, "2026-03-10", 0),
    "JSON": (float("nan"), (1, 2), _AT),
}
"""What is almost of a type: some of it is written all the same, the rest refused."""


@dataclass(frozen=True)
class Temper:
    """How often things go wrong in a case: shares of all values, or of all resolvers."""

    null: float = 0.0
    """Nulls where none may be."""
    wrong: float = 0.0
    """Values of another type."""
    raised: float = 0.0
    """Errors instead of a value."""
    returned: float = 0.1
    """Of these, errors that are given back instead of being raised."""
    slow: float = 0.5
    """Resolvers that wait before they end."""
    loaded: float = 0.15
    """Resolvers that ask a loader."""


CALM = Temper()
TEMPERS = (
    CALM,
    CALM,
    Temper(null=0.02, wrong=0.02, raised=0.08),
    Temper(null=0.06, wrong=0.05, raised=0.25),
    replace(CALM, raised=0.3),
    replace(CALM, null=0.1),
    replace(CALM, wrong=0.15),
)


@dataclass(frozen=True)
class Made:
    """What a scripted object is: where it stands, and as which type of the schema."""

    place: str
    type_: GraphQLObjectType


class ScriptedValues:
    """Makes values of the output types of one schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._objects = [
            one
            for one in schema.type_map.values()
            if isinstance(one, GraphQLObjectType) and "strawberry-definition" in one.extensions
        ]

    def value(self, rng: Random, type_: GraphQLOutputType, place: str, temper: Temper) -> Any:  # noqa: ANN401
        """Return a value for ``place``, fit for ``type_`` unless the temper is against it."""
        if isinstance(type_, GraphQLNonNull):
            if rng.random() < temper.null:
                return None
            type_ = type_.of_type
        elif rng.random() < 0.08:
            return None
        if rng.random() < temper.wrong:
            return self._wrong(rng, type_, place)
        if isinstance(type_, GraphQLList):
            return self._list(rng, type_.of_type, place, temper)
        if isinstance(type_, GraphQLEnumType):
            return rng.choice(list(type_.values.values())).value
        return self._named(rng, type_, place)

    def _named(self, rng: Random, type_: GraphQLOutputType, place: str) -> Any:  # noqa: ANN401
        if isinstance(type_, GraphQLInterfaceType):
            return made(rng.choice(self._schema.get_implementations(type_).objects), place)
        if isinstance(type_, GraphQLObjectType):
            return made(type_, place)
        return rng.choice(_RIGHT[str(type_)])

    def _list(self, rng: Random, of: GraphQLOutputType, place: str, temper: Temper) -> Any:  # noqa: ANN401
        items = [
            self.value(rng, of, f"{place}[{number}]", temper)
            for number in range(rng.choice((0, 1, 2, 2, 3)))
        ]
        if temper.wrong and rng.random() < 0.1:
            kind: Callable[[list[Any]], Any] = rng.choice((tuple, iter, _generated))
            return kind(items)
        return items

    def _wrong(self, rng: Random, type_: GraphQLOutputType, place: str) -> Any:  # noqa: ANN401
        if rng.random() < 0.5:
            near = _NEAR.get(str(type_), _WRONG)
            if isinstance(type_, GraphQLEnumType):
                near = (*type_.values, *(one.value for one in type_.values))
            return rng.choice(near)
        if rng.random() < 0.3:
            return made(rng.choice(self._objects), place)
        return rng.choice(_WRONG)


def made(type_: GraphQLObjectType, place: str) -> Any:  # noqa: ANN401 - of whatever class
    """Return an object of the class behind ``type_``; what is read of it is made as it is read."""
    origin = type_.extensions["strawberry-definition"].origin
    instance = object.__new__(origin)
    instance.__dict__["scripted"] = Made(place, type_)
    return instance


def error(rng: Random) -> Exception:
    """Return a new error of some kind: expected ones, denials, and plain bugs."""
    return rng.choice(_ERRORS)(rng)


def _generated(items: list[Any]) -> Any:  # noqa: ANN401
    return (item for item in items)


def _decision(rng: Random) -> Decision:
    figure = WindowFigure(WindowKind.DAY, 8, 8, 1773100800, rng.choice((None, 1773187200)))
    costs = {"cost": 5, "balance": 2} if rng.random() < 0.3 else {}
    return Decision(
        allowed=False,
        status=rng.choice((402, 403, 429)),
        customer="acme",
        feature="calls",
        units=rng.choice((1, 5)),
        windows=(figure,),
        code=rng.choice(("DAILY_CAP_EXCEEDED", "FEATURE_UNAVAILABLE")),
        message=f"calls: no, {rng.choice(_TEXTS)}",
        window=rng.choice((None, figure)),
        retry_after_seconds=rng.choice((None, 60)),
        max_units_now=rng.choice((None, 0)),
        unlocked_by=rng.choice(((), ("pro", "team"))),
        unlocked_by_packs=rng.choice(((), ("small",))),
        degraded=rng.random() < 0.2,
        **costs,
    )


def _refused(rng: Random) -> Exception:
    together = rng.random() < 0.5
    count = rng.choice((1, 2, 3)) if together else 1
    return Refused(Denied(tuple(_decision(rng) for _ in range(count))), together=together)


def _chained(_: Random) -> Exception:
    chained = GraphQLError("Chained.", original_error=errors.Forbidden("Behind another."))
    chained.__cause__ = KeyError("cause")
    return chained


_ERRORS: tuple[Callable[[Random], Exception], ...] = (
    _refused,
    _refused,
    _refused,
    lambda _: errors.RateLimited("Too many.", retry_after_seconds=7),
    lambda _: errors.NotFound("No such thing."),
    lambda _: errors.UnknownCustomer("unknown customer 'ü\"\n'"),
    lambda _: errors.Forbidden("Not yours."),
    lambda _: errors.Unauthenticated("Who are you?"),
    lambda _: errors.InvalidInput("Argument 'first' is odd."),
    lambda _: errors.IdempotencyConflict("Used before."),
    lambda _: errors.Unavailable("Not now."),
    lambda _: CatalogError([Problem("catalog.toml", 3, "A plan without a name.")]),
    lambda _: RuntimeError("a bug"),
    lambda _: KeyError("feature"),
    lambda _: ValueError(),
    lambda _: TimeoutError("too long"),
    lambda _: GraphQLError("Said by a resolver."),
    lambda _: GraphQLError("Argument 'x' said by a resolver."),
    lambda _: GraphQLError("Placed.", path=["elsewhere", 0]),
    lambda _: GraphQLError("Extended.", extensions={"code": "OWN"}),
    _chained,
)
