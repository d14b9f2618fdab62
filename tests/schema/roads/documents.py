"""Documents: operations over the whole schema, with everything that a selection can hold.

Every one is valid by its making. Two fields of one type share a response key only where field and
arguments are the same, so whatever meets under one key can be merged.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    get_named_type,
)

from tests.schema.roads.input_values import Declared, Literals
from tests.schema.roads.schema_facts import ambiguous_fields, is_composite, live_types

Composite: TypeAlias = GraphQLObjectType | GraphQLInterfaceType

_VARIABLE = re.compile(r"\$(\w+)")
_SPREAD = re.compile(r"\.\.\.(\w+)")
_INTROSPECTION = (
    "__schema { queryType { name } mutationType { name fields { name } } }",
    "__schema { directives { name isRepeatable args { name defaultValue } } }",
    '__type(name: "Plan") { name kind fields { name type { name ofType { name } } } }',
    '__type(name: "WindowKind") { enumValues { name } possibleTypes { name } }',
    '__type(name: "Nothing") { name }',
)


@dataclass(frozen=True)
class Operation:
    """One operation of a document, by the variables that it declares."""

    name: str | None
    kind: str
    declared: tuple[Declared, ...]
    roots: tuple[str, ...]
    """Names of its root fields, for whoever counts what was asked."""


@dataclass(frozen=True)
class Document:
    """A text and what it holds."""

    text: str
    operations: tuple[Operation, ...]
    introspects: bool


@dataclass
class _Fragment:
    name: str
    on: Composite
    body: str


@dataclass
class _Keys:
    """Response keys, each bound to one field of one type with one list of arguments."""

    aliases: dict[tuple[str, str, str], str] = field(default_factory=dict)
    plain: dict[tuple[str, str], str] = field(default_factory=dict)


class DocumentWriter:
    """Writes documents over one schema."""

    def __init__(self, schema: GraphQLSchema, asked: Counter[str] | None = None) -> None:
        self._schema = schema
        self._asked: Counter[str] = Counter() if asked is None else asked
        self._ambiguous = ambiguous_fields(schema)
        self._live = live_types(schema)

    def write(self, rng: Random) -> Document:
        """Return one document."""
        writing = _Writing(rng, self._schema, self._asked, self._ambiguous, self._live)
        count = 1 if rng.random() < 0.85 else rng.choice((2, 3))
        named = count > 1 or rng.random() < 0.5
        bodies: list[tuple[str | None, str, str, tuple[str, ...]]] = []
        introspects = rng.random() < 0.012
        for number in range(count):
            kind = "mutation" if rng.random() < 0.35 and not introspects else "query"
            name = f"Op{number}" if named else None
            body, roots = writing.operation(kind)
            if introspects:
                body = f"{{ {rng.choice(_INTROSPECTION)} {body[1:]}"
            bodies.append((name, kind, body, roots))
        fragments = {one.name: one.body for one in writing.fragments}
        operations: list[Operation] = []
        parts: list[str] = []
        spread: set[str] = set()
        for name, kind, body, roots in bodies:
            used = _closure(body, fragments)
            spread |= used
            texts = [body, *(fragments[one] for one in used)]
            wanted = {found for text in texts for found in _VARIABLE.findall(text)}
            declared = tuple(one for key, one in writing.literals.declared.items() if key in wanted)
            operations.append(Operation(name, kind, declared, roots))
            parts.append(_head(rng, name, kind, declared) + body)
        parts += [
            f"fragment {one.name} on {one.on.name} {one.body}"
            for one in writing.fragments
            if one.name in spread
        ]
        rng.shuffle(parts)
        return Document(
            rng.choice(("\n", "\n\n# next\n", " ")).join(parts), tuple(operations), introspects
        )


class _Writing:
    """One document in the making."""

    def __init__(
        self,
        rng: Random,
        schema: GraphQLSchema,
        asked: Counter[str],
        ambiguous: frozenset[str],
        live: frozenset[str],
    ) -> None:
        self._rng = rng
        self._schema = schema
        self._ambiguous = ambiguous
        self._live = live
        self._asked = asked
        self._keys = _Keys()
        self._left = 0
        self._aliases_left = 20
        self._conditions: list[str] = []
        self._most_conditions = 6 if rng.random() < 0.02 else 3
        self.fragments: list[_Fragment] = []
        self.literals = Literals(rng)

    def operation(self, kind: str) -> tuple[str, tuple[str, ...]]:
        """Return a selection of root fields, and their names."""
        rng = self._rng
        self._left = rng.choice((2, 4, 8, 14, 22))
        root = self._schema.mutation_type if kind == "mutation" else self._schema.query_type
        assert root is not None
        before = self._asked.copy()
        body = self._selection(root, 0)
        roots = [
            name
            for name in root.fields
            if self._asked[f"{root.name}.{name}"] > before[f"{root.name}.{name}"]
        ]
        return body, tuple(roots)

    def _selection(self, type_: Composite, depth: int) -> str:
        rng = self._rng
        most = rng.choice((1, 2, 3, 4) if depth < 2 else (1, 2, 3, 3, 5, 8))
        parts: list[str] = []
        for _ in range(most):
            parts.append(self._part(type_, depth))
            if self._left <= 0:
                break
        if rng.random() < 0.15:
            parts.append(rng.choice(parts))
        return f"{{ {' '.join(parts)} }}"

    def _part(self, type_: Composite, depth: int) -> str:
        rng = self._rng
        roll = rng.random()
        abstract = isinstance(type_, GraphQLInterfaceType)
        if roll < 0.06:
            self._asked[f"{type_.name}.__typename"] += 1
            return rng.choice(("__typename", "__typename", "kind_: __typename"))
        if roll < (0.7 if abstract else 0.14) and depth < 7:
            return self._inline(type_, depth)
        if roll < (0.85 if abstract else 0.22) and depth < 5:
            return self._spread(type_, depth)
        return self._field(type_, depth)

    def _inline(self, type_: Composite, depth: int) -> str:
        rng = self._rng
        on = rng.choice((None, *self._within(type_)))
        condition = "" if on is None else f" on {on.name}"
        return f"...{condition}{self._directives()} {self._selection(on or type_, depth)}"

    def _spread(self, type_: Composite, depth: int) -> str:
        rng = self._rng
        within = self._within(type_)
        known = [one for one in self.fragments if one.on in within]
        if known and rng.random() < 0.5:
            return f"...{rng.choice(known).name}{self._directives()}"
        on = rng.choice(within)
        # A fragment may be spread where less depth is left than where it was written.
        body = self._selection(on, max(depth, 4))
        made = _Fragment(f"F{len(self.fragments)}", on, body)
        self.fragments.append(made)
        return f"...{made.name}{self._directives()}"

    def _within(self, type_: Composite) -> list[Composite]:
        """Return types of which an object can be where ``type_`` is selected from."""
        if isinstance(type_, GraphQLInterfaceType):
            return [type_, *self._schema.get_implementations(type_).objects]
        return [type_, type_, *type_.interfaces]

    def _field(self, type_: Composite, depth: int) -> str:
        rng = self._rng
        names = list(type_.fields)
        lively = [one for one in names if get_named_type(type_.fields[one].type).name in self._live]
        # Of two, the one that was asked less: so that every field has its turn.
        two = rng.choices(lively if lively and rng.random() < 0.5 else names, k=2)
        name = min(two, key=lambda one: self._asked[f"{type_.name}.{one}"])
        if depth >= 8 or self._left <= 0:
            leaves = [one for one in names if not is_composite(type_.fields[one])]
            if not leaves:
                return "__typename"
            name = rng.choice(leaves)
        self._left -= 1
        found = type_.fields[name]
        self._asked[f"{type_.name}.{name}"] += 1
        key, arguments = self._key(type_, name, found)
        inner = ""
        if is_composite(found):
            of = get_named_type(found.type)
            assert isinstance(of, (GraphQLObjectType, GraphQLInterfaceType))
            inner = f" {self._selection(of, depth + 1)}"
        return f"{key}{name}{arguments}{self._directives()}{inner}"

    def _key(self, type_: Composite, name: str, found: GraphQLField) -> tuple[str, str]:
        """Return the alias to write, if any, and the arguments."""
        rng = self._rng
        place = (type_.name, name)
        arguments = self._keys.plain.get(place)
        if arguments is None or rng.random() < 0.3:
            arguments = self._arguments(type_, name, found)
        ambiguous = f"{type_.name}.{name}" in self._ambiguous
        known = self._keys.plain.setdefault(place, arguments)
        renamed = rng.random() < 0.12 and self._aliases_left > 0
        if known == arguments and not ambiguous and not renamed:
            return "", arguments
        self._aliases_left -= 1
        bound = (*place, arguments)
        alias = self._keys.aliases.setdefault(bound, f"a{len(self._keys.aliases)}")
        return f"{alias}: ", arguments

    def _arguments(self, type_: Composite, name: str, found: GraphQLField) -> str:
        rng = self._rng
        parts: list[str] = []
        for own, argument in found.args.items():
            has_default = argument.default_value is not Undefined
            required = isinstance(argument.type, GraphQLNonNull) and not has_default
            if required or rng.random() < 0.45:
                self._asked[f"{type_.name}.{name}({own})"] += 1
                parts.append(
                    f"{own}: {self.literals.argument(argument.type, has_default=has_default)}"
                )
        rng.shuffle(parts)
        return f"({', '.join(parts)})" if parts else ""

    def _directives(self) -> str:
        rng = self._rng
        if rng.random() > 0.1:
            return ""
        names = ["skip", "include"] if rng.random() < 0.2 else [rng.choice(("skip", "include"))]
        parts = []
        for name in names:
            usual = "false" if name == "skip" else "true"
            condition = rng.choice((usual, usual, "true", "false"))
            if rng.random() < 0.6:
                condition = self._condition()
            parts.append(f" @{name}(if: {condition})")
        return "".join(parts)

    def _condition(self) -> str:
        """Return a variable that decides; of many, each combination would be compiled anew."""
        rng = self._rng
        if not self._conditions or (
            len(self._conditions) < self._most_conditions and rng.random() < 0.4
        ):
            self._conditions.append(self.literals.variable(GraphQLNonNull(GraphQLBoolean)))
        return rng.choice(self._conditions)


def _head(rng: Random, name: str | None, kind: str, declared: tuple[Declared, ...]) -> str:
    if name is None and not declared and kind == "query" and rng.random() < 0.5:
        return ""
    variables = f"({', '.join(one.text for one in declared)})" if declared else ""
    return f"{kind} {name or ''}{variables} "


def _closure(body: str, fragments: dict[str, str]) -> set[str]:
    """Return the names of all fragments that ``body`` reaches."""
    reached: set[str] = set()
    waiting = [body]
    while waiting:
        for name in _SPREAD.findall(waiting.pop()):
            if name in fragments and name not in reached:
                reached.add(name)
                waiting.append(fragments[name])
    return reached
