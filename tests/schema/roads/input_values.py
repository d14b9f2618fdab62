"""Values of input types: as literals of a document, with variables in them, and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    Undefined,
)

JsonValue: TypeAlias = Any

_TEXTS = ("", "acme", "calls", "Ünïcode ☃ 😀", 'quo"te\\', "two\nlines", "2026-03", "0", " ")
_RIGHT: dict[str, tuple[JsonValue, ...]] = {
    "String": _TEXTS,
    "ID": (*_TEXTS, 7, -3),
    "Int": (0, 1, 7, -1, 50, 2**31 - 1, -(2**31)),
    "Float": (0, 1, -2.5, 1e21, 3.0, 0.1),
    "Boolean": (True, False),
    "Units": (0, 1, 9, 2**53 - 1, "12", 5.0),
    "SignedUnits": (0, 1, -9, 1 - 2**53, "-12", 5.0),
    "DateTime": ("2026-03-10T10:00:00Z", "2026-03-10t10:00:00.123456789+05:30"),
    "JSON": (1, 1.5, "text", True, [], [1, [None]], {}, {"a": {"b": [1, "x"]}}),
}
_WRONG: tuple[JsonValue, ...] = (
    *(None, True, -1, 3.0, 2**31, 2**60, 1.5, "", "x", "-1", "DAY", "2026-02-30T10:00:00Z"),
    *([], [None], ["x"], [[1]], {}, {"nothing": 1}, {"customer": 5}),
)


@dataclass(frozen=True)
class Declared:
    """A variable as its operation declares it."""

    name: str
    type_: GraphQLInputType
    default: str | None

    @property
    def text(self) -> str:
        default = "" if self.default is None else f" = {self.default}"
        return f"${self.name}: {self.type_}{default}"


@dataclass
class Literals:
    """Writes literals that fit; the variables that they need are declared on the way."""

    rng: Random
    declared: dict[str, Declared] = field(default_factory=dict)

    def argument(self, type_: GraphQLInputType, *, has_default: bool) -> str:
        """Return what an argument of this type is given: as often a variable as a literal."""
        if self.rng.random() < 0.5:
            return self.variable(type_, has_default=has_default)
        return self._literal(type_, variables=True)

    def variable(self, type_: GraphQLInputType, *, has_default: bool = False) -> str:
        """Return a variable that may stand where ``type_`` is wanted."""
        rng = self.rng
        own: GraphQLInputType = type_
        default: str | None = None
        if isinstance(type_, GraphQLNonNull):
            if rng.random() < 0.15:
                # Null is possible then, and found out only when the field is reached.
                own = type_.of_type
                if not has_default or rng.random() < 0.5:
                    default = self._present(own, variables=False)
            elif rng.random() < 0.3:
                default = self._present(type_.of_type, variables=False)
        elif rng.random() < 0.15:
            own = GraphQLNonNull(type_)
        elif rng.random() < 0.2:
            default = self._literal(own, variables=False)
        same = [one for one in self.declared.values() if str(one.type_) == str(own)]
        fitting = [one for one in same if (one.default or "null") == (default or "null")]
        if fitting and rng.random() < 0.5:
            return f"${rng.choice(fitting).name}"
        name = f"v{len(self.declared)}"
        self.declared[name] = Declared(name, own, default)
        return f"${name}"

    def _literal(self, type_: GraphQLInputType, *, variables: bool) -> str:
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type, variables=variables)
        if self.rng.random() < 0.1:
            return "null"
        return self._present(type_, variables=variables)

    def _inner(self, type_: GraphQLInputType, *, variables: bool, has_default: bool = False) -> str:
        if variables and self.rng.random() < 0.25:
            return self.variable(type_, has_default=has_default)
        return self._literal(type_, variables=variables)

    def _present(self, type_: GraphQLInputType, *, variables: bool) -> str:
        rng = self.rng
        if isinstance(type_, GraphQLList):
            if rng.random() < 0.2:
                item = type_.of_type
                bare = item.of_type if isinstance(item, GraphQLNonNull) else item
                return self._present(bare, variables=variables)
            count = rng.choice((0, 1, 2, 3))
            inner = [self._inner(type_.of_type, variables=variables) for _ in range(count)]
            return f"[{', '.join(inner)}]"
        if isinstance(type_, GraphQLInputObjectType):
            parts = [
                f"{name}: "
                + self._inner(
                    one.type,
                    variables=variables,
                    has_default=one.default_value is not Undefined,
                )
                for name, one in type_.fields.items()
                if _must_give(one) or rng.random() < 0.4
            ]
            rng.shuffle(parts)
            return f"{{{', '.join(parts)}}}"
        if isinstance(type_, GraphQLEnumType):
            return str(rng.choice(list(type_.values)))
        if str(type_) == "JSON" and variables and rng.random() < 0.15:
            return f"{{a: {self.variable(type_)}, b: [1, {self.variable(type_)}]}}"
        return written(rng.choice(_RIGHT[str(type_)]), blocks=rng.random() < 0.1)


@dataclass
class Givens:
    """Makes what a request gives for variables; ``wrong`` of the values do not fit."""

    rng: Random
    wrong: float

    def variables(self, declared: list[Declared]) -> dict[str, JsonValue]:
        """Return JSON for these variables; what may be left out sometimes is."""
        given: dict[str, JsonValue] = {}
        for one in declared:
            required = isinstance(one.type_, GraphQLNonNull) and one.default is None
            left_out = self.wrong / 2 if required else 0.3
            if self.rng.random() >= left_out:
                given[one.name] = self._value(one.type_)
        if self.rng.random() < 0.05:
            given["unheardOf"] = 1
        return given

    def _value(self, type_: GraphQLInputType) -> JsonValue:
        rng = self.rng
        if rng.random() < self.wrong:
            return None if rng.random() < 0.3 else rng.choice(_WRONG)
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type)
        return None if rng.random() < 0.12 else self._present(type_)

    def _present(self, type_: GraphQLInputType) -> JsonValue:
        rng = self.rng
        if isinstance(type_, GraphQLList):
            if rng.random() < 0.15:
                return self._value(type_.of_type)
            return [self._value(type_.of_type) for _ in range(rng.choice((0, 1, 2, 3)))]
        if isinstance(type_, GraphQLInputObjectType):
            return self._object(type_)
        if isinstance(type_, GraphQLEnumType):
            return rng.choice(list(type_.values))
        return rng.choice(_RIGHT[str(type_)])

    def _object(self, type_: GraphQLInputObjectType) -> JsonValue:
        rng = self.rng
        given: dict[str, JsonValue] = {}
        for name, one in type_.fields.items():
            chance = 1 - self.wrong / 2 if _must_give(one) else 0.4
            if rng.random() < chance:
                given[name] = self._value(one.type)
        if rng.random() < self.wrong / 2:
            given["unheardOf"] = None
        return given


def written(value: JsonValue, *, blocks: bool = False) -> str:
    """Return ``value`` as a literal; ``blocks``: texts as block strings, where they can be."""
    if isinstance(value, dict):
        inner = (f"{name}: {written(one, blocks=blocks)}" for name, one in value.items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list):
        return f"[{', '.join(written(one, blocks=blocks) for one in value)}]"
    if blocks and isinstance(value, str) and "\\" not in value and '"' not in value:
        return f'"""{value}"""'
    return json.dumps(value, ensure_ascii=False)


def _must_give(one: Any) -> bool:  # noqa: ANN401 - a field of whatever input object
    return isinstance(one.type, GraphQLNonNull) and one.default_value is Undefined
